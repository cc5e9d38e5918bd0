# Toolchain file: the runtime and ssm-run for AArch64, by Debian's cross compiler
# (g++-aarch64-linux-gnu).
#   cmake -S runtime -B build-aarch64 -DSSMRT_TOOL=ON
#         -DCMAKE_TOOLCHAIN_FILE=../cmake/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
# Libraries that are headers only (xxHash, CLI11, nlohmann/json) are those of this machine,
# behind all headers of the target.
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
set(CMAKE_CXX_FLAGS_INIT "-idirafter /usr/include")
