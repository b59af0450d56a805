"""Self-contained HTML pages: one style, charts as inline SVG, scripts in the page itself, no network.

Layout:
    page.py       Jinja environment, style sheet, `render`
    charts.py     charts of Matplotlib as SVG text
    templates/    one template a page; diagnosis.* is the part of the conversion report that draws itself
"""
