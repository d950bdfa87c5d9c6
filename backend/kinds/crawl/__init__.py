"""The first kind of job: a web crawl by depth.

Pure: `spec` (what is asked), `globs`, `urls`, `addresses`, `encoding`, `tags` and `links` (what a page says), `page`
and `selection` (what else is taken from it), `robots` (what its site asks for), `sitemaps` and `sources` (what it names
beside its links), `pace` (how fast a host may be asked), `kept` (what the cache holds), `reasons`, `options`, `pages`
(what master and worker tell each other), `plan`, `notes` (what a crawl keeps beside its levels), `parts`, `result`.
Shell: `fetch`, `shelf` (pages in the cache), `flights` (one request for all who want it), `permits` (robots.txt of each
site), `hosts` and `turns` (manners towards each host), `workshop` (slow work in other processes), `runner`. `kind` is
the seam's face.
"""
