"""Series: reading, dates, windows as views, scaling."""
