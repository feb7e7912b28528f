"""The lab: causes x remedies, each planted and tried with several seeds, and the article's claims on trial."""
