# find_package(magpie REQUIRED) and target_link_libraries(arm magpie::magpie).
get_filename_component(_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET magpie::magpie)
  add_library(magpie::magpie SHARED IMPORTED)
  set_target_properties(magpie::magpie PROPERTIES
    IMPORTED_LOCATION "${_prefix}/lib/libmagpie.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_prefix}/include"
    INTERFACE_COMPILE_FEATURES cxx_std_17)
endif()
