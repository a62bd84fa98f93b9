"""Turn model objects into what people and other programs read: terminal text and JSON values.

First a *view* is made (``plan_view``, ``tree_view``, ``status_view``): plain data that says what is to be
told. Then ``plan_text``, ``tree_text`` and ``status`` lay it out for a terminal. Nothing here
reads, writes, asks a clock or decides anything; a further form, such as Markdown, needs only the
views.
"""
