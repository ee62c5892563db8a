// The live page as the build embeds it (build/page.zig from node/look/page/): one HTML file with its style and script
// inside, the same compressed, and the policy that allows this style and this script by their hashes and nothing else.
#ifndef NODE_LOOK_HTTP_PAGE_H
#define NODE_LOOK_HTTP_PAGE_H

#include <stdint.h>

extern const char page_html[], page_gzip[], page_policy[];  // the policy ends with NUL
extern const uint64_t page_html_size, page_gzip_size;

#endif
