"""Reports as tables and as tiers: files for Excel, R, SPSS, ELAN, Praat and players."""
