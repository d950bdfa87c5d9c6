"""The first kind of job: a web crawl by depth.

Pure: `spec`, `urls`, `tags`, `links`, `encoding`, `addresses`, `pages`, `plan`, `result`. Shell: `fetch`,
`runner`. `kind` is the seam's face.
"""
