"""The first kind of job: a web crawl by depth.

Pure: `spec` (what is asked), `urls`, `addresses`, `encoding`, `tags` and `links` (what a page says), `reasons`,
`options`, `pages` (what master and worker tell each other), `plan`, `result`. Shell: `fetch`, `runner`.
`kind` is the seam's face.
"""
