//===- OutputFilesTest.cpp - Files whole or not at all ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Support/OutputFiles.h"
#include "lib/Support/ScratchFolder.h"

#include "test/unit/package/PackageTesting.h"
#include "gtest/gtest.h"

#include <sys/stat.h>

using namespace ssm;

TEST(OutputFiles, CommitGivesTheNames) {
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
  {
    OutputFiles files;
    std::string a = cantFail(files.add(folder.file("a")));
    std::string b = cantFail(files.add(folder.file("b")));
    cantFail(files.addScratch(folder.file("c")).takeError());
    writeFile(a, "1");
    writeFile(b, "2");
    EXPECT_EQ(listFolder(folder.path()).size(), 3u);
    EXPECT_FALSE(bool(files.commit()));
  }
  EXPECT_EQ(listFolder(folder.path()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(readFile(folder.file("b")), "2");
}

TEST(OutputFiles, NothingIsLeftWithoutCommit) {
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
  writeFile(folder.file("a"), "before");
  {
    OutputFiles files;
    writeFile(cantFail(files.add(folder.file("a"))), "after");
  }
  EXPECT_EQ(listFolder(folder.path()), std::vector<std::string>{"a"});
  EXPECT_EQ(readFile(folder.file("a")), "before");
}

TEST(OutputFiles, Refusals) {
  ScratchFolder folder = cantFail(ScratchFolder::create("ssm-test"));
  OutputFiles files;
  EXPECT_EQ(messageOf(files.add(folder.path())),
            "cannot write '" + folder.path().str() + "': it is a folder");
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(messageOf(files.add(folder.file("pipe"))),
            "cannot write '" + folder.file("pipe") + "': it is there, and no file");
  std::string message = messageOf(files.add(folder.file("missing/a")));
  EXPECT_NE(message.find("cannot write '"), std::string::npos) << message;
}
