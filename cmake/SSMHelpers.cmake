# How a room of the compiler becomes a library. Everything generated or included
# is named from the top of the repository: "dialects/SSM/SSMOps.h".

# One table out of LLVM_TARGET_DEFINITIONS, in the build folder of the same name.
macro(ssm_tablegen output)
  mlir_tablegen(${output} ${ARGN})
endmacro()

macro(ssm_tablegen_target name)
  add_public_tablegen_target(${name})
  set_property(GLOBAL APPEND PROPERTY SSM_TABLEGEN_TARGETS ${name})
endmacro()

# ssm_library(NAME sources... [LIBS libraries...] [DEPENDS targets...])
function(ssm_library name)
  cmake_parse_arguments(ARG "" "" "LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS} MLIR LLVM)
  get_property(tables GLOBAL PROPERTY SSM_TABLEGEN_TARGETS)
  if(tables OR ARG_DEPENDS)
    add_dependencies(${name} ${tables} ${ARG_DEPENDS})
  endif()
  ssm_compile_options(${name})
endfunction()

function(ssm_compile_options name)
  target_include_directories(${name} SYSTEM PRIVATE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
                                             ${PROJECT_SOURCE_DIR}/include)
  target_compile_options(${name} PRIVATE -fno-rtti -fno-exceptions -fvisibility-inlines-hidden
                                         -Wall -Wextra -Wno-unused-parameter)
  # The packages of MLIR are built so; sizes of some of its classes depend on it.
  target_compile_definitions(${name} PRIVATE NDEBUG)
endfunction()

# ssm_tool(NAME sources... LIBS libraries...)
function(ssm_tool name)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  # Pass plugins find our dialects in the program that loads them.
  set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} MLIR LLVM)
  ssm_compile_options(${name})
endfunction()
