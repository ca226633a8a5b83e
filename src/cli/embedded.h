// SPDX-License-Identifier: Apache-2.0
// The files of src/cli/pages as texts: the build makes an array of each (tools/embed.cmake).
#pragma once

extern const char embedded_page_html[], embedded_page_css[], embedded_page_js[];
extern const char embedded_charts_js[], embedded_charts_css[];
extern const char embedded_report_js[], embedded_report_css[], embedded_maps_js[], embedded_compare_js[];
extern const char embedded_compare_css[];
