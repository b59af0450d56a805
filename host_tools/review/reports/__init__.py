"""What an analysis says, for people and programs.

Layout:
    report.py      `Report`: title, verdict, tables, findings, notes; what terminal and page show alike
    comparison.py  artifact B against A as a report
    reviews.py     a device, and a week, as reports
    terminal.py    a report in the terminal
    page.py        a report as a page that needs nothing else
    document.py    the analysis itself as JSON
    status.py      exit status, for scripts
"""
