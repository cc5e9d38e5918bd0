//===- ElfObject.cpp - An object file around plain bytes ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/ElfObject.h"

#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELFTypes.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/TargetParser/Triple.h"

using namespace llvm;
using namespace ssm;
using Elf = object::ELF64LE;

template <typename T> static void append(std::string &out, const T &value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

Expected<ElfObject> ssm::makeElfObject(StringRef triple, StringRef symbol, uint64_t bytes) {
  Triple parsed(triple);
  bool isX86 = parsed.getArch() == Triple::x86_64;
  if (!isX86 && parsed.getArch() != Triple::aarch64)
    return createStringError("weights cannot be embedded for '" + triple + "'");

  enum { Null, Data, Symbols, Strings, Names, Stack, NumSections };
  // Offsets into the table of section names are those of the parts of this text.
  static constexpr char names[] = "\0.lrodata\0.symtab\0.strtab\0.shstrtab\0.note.GNU-stack";
  StringRef nameTable(names, sizeof(names));
  std::string stringTable("\0", 1);
  stringTable += symbol;
  stringTable += '\0';

  uint64_t dataAt = alignTo(sizeof(Elf::Ehdr), 64);
  uint64_t symbolsAt = alignTo(dataAt + bytes, 8);
  uint64_t stringsAt = symbolsAt + 2 * sizeof(Elf::Sym);
  uint64_t namesAt = stringsAt + stringTable.size();
  uint64_t sectionsAt = alignTo(namesAt + nameTable.size(), 8);

  Elf::Ehdr header = {};
  memcpy(header.e_ident, ELF::ElfMagic, 4);
  header.e_ident[ELF::EI_CLASS] = ELF::ELFCLASS64;
  header.e_ident[ELF::EI_DATA] = ELF::ELFDATA2LSB;
  header.e_ident[ELF::EI_VERSION] = ELF::EV_CURRENT;
  header.e_type = ELF::ET_REL;
  header.e_machine = isX86 ? ELF::EM_X86_64 : ELF::EM_AARCH64;
  header.e_version = ELF::EV_CURRENT;
  header.e_shoff = sectionsAt;
  header.e_ehsize = sizeof(Elf::Ehdr);
  header.e_shentsize = sizeof(Elf::Shdr);
  header.e_shnum = NumSections;
  header.e_shstrndx = Names;

  ElfObject object;
  append(object.head, header);
  object.head.resize(dataAt);

  std::string &tail = object.tail;
  auto padTo = [&](uint64_t offset) { tail.resize(offset - (dataAt + bytes)); };
  padTo(symbolsAt);
  append(tail, Elf::Sym{});
  Elf::Sym entry = {};
  entry.st_name = 1;
  entry.setBindingAndType(ELF::STB_GLOBAL, ELF::STT_OBJECT);
  entry.setVisibility(ELF::STV_HIDDEN);
  entry.st_shndx = Data;
  entry.st_size = bytes;
  append(tail, entry);
  tail += stringTable;
  tail += nameTable;
  padTo(sectionsAt);

  auto section = [&](StringRef name, unsigned type, uint64_t flags, uint64_t offset, uint64_t size,
                     uint64_t align) {
    Elf::Shdr result = {};
    result.sh_name = name.empty() ? 0 : nameTable.find(name);
    result.sh_type = type;
    result.sh_flags = flags;
    result.sh_offset = offset;
    result.sh_size = size;
    result.sh_addralign = align;
    return result;
  };
  append(tail, Elf::Shdr{});
  uint64_t large = isX86 ? uint64_t(ELF::SHF_X86_64_LARGE) : 0;
  append(tail, section(".lrodata", ELF::SHT_PROGBITS, ELF::SHF_ALLOC | large, dataAt, bytes, 64));
  Elf::Shdr table = section(".symtab", ELF::SHT_SYMTAB, 0, symbolsAt, 2 * sizeof(Elf::Sym), 8);
  table.sh_link = Strings;
  table.sh_info = 1; // the first symbol that is not local
  table.sh_entsize = sizeof(Elf::Sym);
  append(tail, table);
  append(tail, section(".strtab", ELF::SHT_STRTAB, 0, stringsAt, stringTable.size(), 1));
  append(tail, section(".shstrtab", ELF::SHT_STRTAB, 0, namesAt, nameTable.size(), 1));
  append(tail, section(".note.GNU-stack", ELF::SHT_PROGBITS, 0, sectionsAt, 0, 1));
  return object;
}
