//===- MakeTestModule.cpp - Writes the files around a module --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MakeTestModule weights FILE HEADER   a weights file, and a C header about it
// MakeTestModule seal FILE OUT         FILE with the trailer of a whole module
// MakeTestModule embed FILE HEADER     a C header with FILE, a NUL behind it
//
//===----------------------------------------------------------------------===//

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ssmrt/module_abi.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

static int writeWeights(const char *path, const char *headerPath) {
  std::string header = R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  header.resize((header.size() + 8 + 63) / 64 * 64 - 8, ' ');
  uint64_t length = header.size();
  std::string file(reinterpret_cast<char *>(&length), sizeof(length));
  file += header;
  size_t base = file.size();
  const float values[4] = {0.5f, -1.25f, 3.0f, 100.0f};
  file.append(reinterpret_cast<const char *>(values), sizeof(values));
  std::ofstream(path, std::ios::binary) << file;
  std::FILE *out = std::fopen(headerPath, "w");
  if (!out)
    return 1;
  std::fprintf(out,
               "#define TEST_WEIGHTS_FILE_BYTES %zu\n"
               "#define TEST_WEIGHTS_BASE %zu\n"
               "#define TEST_WEIGHTS_HEADER_HASH 0x%016llxull\n"
               "#define TEST_WEIGHT_HASH 0x%016llxull\n",
               file.size(), base, (unsigned long long)XXH3_64bits(file.data(), base),
               (unsigned long long)XXH3_64bits(values, sizeof(values)));
  return std::fclose(out);
}

static int seal(const char *from, const char *to) {
  std::ifstream in(from, std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  XXH128_hash_t hash = XXH3_128bits(file.data(), file.size());
  ssm_trailer trailer;
  std::memcpy(trailer.magic, SSM_TRAILER_MAGIC, sizeof(trailer.magic));
  trailer.content_bytes = file.size();
  trailer.hash_low = hash.low64;
  trailer.hash_high = hash.high64;
  file.append(reinterpret_cast<char *>(&trailer), sizeof(trailer));
  std::ofstream out(to, std::ios::binary);
  out << file;
  return out.good() ? 0 : 1;
}

static int embed(const char *from, const char *to) {
  std::ifstream in(from, std::ios::binary);
  std::FILE *out = std::fopen(to, "w");
  if (!in || !out)
    return 1;
  std::fprintf(out, "static const char devicePtx[] = {");
  for (int byte = in.get(); byte != std::ifstream::traits_type::eof(); byte = in.get())
    std::fprintf(out, "%d,", byte);
  std::fprintf(out, "0};\n");
  return std::fclose(out);
}

int main(int argc, char **argv) {
  if (argc == 4 && !std::strcmp(argv[1], "weights"))
    return writeWeights(argv[2], argv[3]);
  if (argc == 4 && !std::strcmp(argv[1], "seal"))
    return seal(argv[2], argv[3]);
  if (argc == 4 && !std::strcmp(argv[1], "embed"))
    return embed(argv[2], argv[3]);
  return 2;
}
