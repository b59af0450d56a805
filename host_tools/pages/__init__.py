"""Self-contained HTML pages: one style, charts as inline SVG, no script and no network.

Layout:
    page.py       Jinja environment, style sheet, `render`
    charts.py     charts of Matplotlib as SVG text
    templates/    one template a page
"""
