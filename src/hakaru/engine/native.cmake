# How a native build is compiled in less time. llama.cpp's CMakeLists.txt includes this file
# (-DCMAKE_PROJECT_llama.cpp_INCLUDE), and `quicken` runs when all targets are known.
#
# The arithmetic (ggml) keeps -O3. The rest waits for the arithmetic, so -O1 is enough there, and
# -O0 where bytes are only copied (HTTP). Files that include the same large headers are compiled
# together, where the pinned version's sources allow it.
function(compile_together is_together target)
    get_target_property(folder ${target} SOURCE_DIR)
    list(TRANSFORM ARGN PREPEND "${folder}/" OUTPUT_VARIABLE files)
    if (is_together)
        set(is_left_out OFF)
    else()
        set(is_left_out ON)
    endif()
    set_source_files_properties(${files} TARGET_DIRECTORY ${target}
        PROPERTIES SKIP_UNITY_BUILD_INCLUSION ${is_left_out})
endfunction()

function(quicken)
    foreach (target llama llama-common mtmd server-context llama-server-impl llama-quantize-impl
                    ggml-rpc ggml-rpc-server)
        target_compile_options(${target} PRIVATE -O1)
    endforeach()
    target_compile_options(cpp-httplib PRIVATE -O0)
    set_target_properties(llama llama-common mtmd server-context PROPERTIES
        UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 10)
    get_target_property(sources llama SOURCES)
    list(FILTER sources INCLUDE REGEX "^[a-z0-9-]*.cpp$")
    compile_together(ON llama ${sources})
    compile_together(OFF llama-common json.cpp)  # specializes what others instantiate
    compile_together(OFF mtmd mtmd-helper.cpp mtmd-helper-gen.cpp)  # refuse internal headers
endfunction()

# A build with AMX died at the first word on a virtual machine that announces AMX (SIGILL in
# tilezero, docs/labbook.md), although a small program could use the tiles there. So no build uses
# them.
function(leave_amx_out)
    set(CMAKE_REQUIRED_FLAGS "-march=native")
    check_c_source_compiles("
        #ifndef __AMX_TILE__
        #error
        #endif
        int main(void) { return 0; }" ANNOUNCES_AMX)
    if (ANNOUNCES_AMX)
        add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
    endif()
endfunction()

include(CheckCSourceCompiles)
leave_amx_out()
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL quicken)
