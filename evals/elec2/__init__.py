"""The loop on real data: 944 days of the New South Wales electricity market (Elec2), replayed week by week.

The model says whether the price is above its average of the past 24 hours. `python -m evals.elec2 --data elec2.csv`.
"""
