"""The crawl kind of job: it lists the pages of a web site by link depth.

Pure modules, without I/O: `spec` (the client's options), `globs`, `urls`, `operator_options`, `reasons`, `page_tasks`
(messages between master and worker), `cached_page` (cache entries), `plan` (the crawl at its master), `crawl_details`
(page details and links for the result), `html/` (encodings, tags, links, CSS selectors), `sitemaps/`, `output/` (the
result), and in `politeness/` `robots`, `pace`, `host_board`, `host_lease` and `worker_ring`; also
`fetch/public_addresses`.

Modules with I/O or asyncio: `runner` (runs one task in a worker), `fetch/fetcher` (HTTP), `page_cache` (pages in the
shared cache), `single_flight` (one fetch for all concurrent requests for a page), `sandbox` (slow work in other
processes), and in `politeness/` `robots_cache`, `host_coordinator`, `host_state` and `host_limits`. `kind` implements
the `JobKind` interface.
"""
