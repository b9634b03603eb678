"""The databases of rooms that persist: engine, transactions, migrations. It knows no tables; each room declares its own in `tables.py`."""
