"""Writes the result of a crawl in other formats: text, tables, graphs, sitemap.xml, an HTML report."""
