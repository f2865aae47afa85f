"""Reports: ``report.html`` of a run, one page that opens offline, made from saved files alone."""
