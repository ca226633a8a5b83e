# SPDX-License-Identifier: Apache-2.0
# A text file as a C array that ends in zero: cmake -DINPUT=report.js -DOUTPUT=report_js.c -DNAME=embedded_report_js -P embed.cmake
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"cli/embedded.h\"\nconst char ${NAME}[] = {${bytes}0};\n")
