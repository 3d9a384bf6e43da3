# Included by CMake at llama-cpp-python's project() call (CMAKE_PROJECT_llama_cpp_INCLUDE): what hakaru does not use is not compiled.
#
# llama.cpp's "common" library is for its own programs. The package forces its cache option on, but a normal variable goes before it.
set(LLAMA_BUILD_COMMON OFF)
# libllama reads files and builds graphs; the arithmetic is in libggml, which keeps -O3. Measured: docs/labbook.md, 2026-11-22.
cmake_language(DEFER CALL target_compile_options llama PRIVATE -O1)
