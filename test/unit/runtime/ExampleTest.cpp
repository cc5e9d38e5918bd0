//===- ExampleTest.cpp - The example program ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstdio>
#include <tuple>

/// Output and exit status of a command.
static std::pair<std::string, int> capture(const std::string &command) {
  std::FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;)
    text += char(c);
  return {text, pclose(pipe)};
}

TEST(Example, RunsAModule) {
  Tensor<float> x({2, 3, 4}, std::vector<float>(24, 1));
  const ssmrt_input list[] = {{"x", &x.view}, {"y", &x.view}};
  TemporaryFile inputs;
  ASSERT_EQ(ssmrt_tensors_write(inputs.path.c_str(), list, 2), SSMRT_OK);
  std::string command = TEST_EXAMPLE " " + testFile("TestModule.so") + " ";
  auto [text, status] = capture(command + inputs.path);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text, "output 0: 2 3 4\n");

  ASSERT_EQ(ssmrt_tensors_write(inputs.path.c_str(), list, 1), SSMRT_OK);
  std::tie(text, status) = capture(command + inputs.path);
  EXPECT_NE(status, 0);
  EXPECT_EQ(text, "invalid argument: input 'y' [batch, seq, 4] is missing\n");
}
