"""Ta Feng and Complete Journey: their files as logs, labels and titles."""

import datetime
import zipfile

import pyarrow as pa
import pyarrow.parquet
import pytest

from keras_peterrec.errors import InputError
from keras_peterrec.log import sources
from keras_peterrec.log.item_features import read_items
from keras_peterrec.log.sources import check_log, item_table, load_labels, load_log, load_titles

DAY = 86_400
TA_FENG = """\
"TRANSACTION_DT","CUSTOMER_ID","AGE_GROUP","PIN_CODE","PRODUCT_SUBCLASS","PRODUCT_ID","AMOUNT","ASSET","SALES_PRICE"
"11/1/2000","00000002","45-49","115","110411","0078895770025","2","24","30"
"12/31/2000","00000001","<25","Unknown","560402","4710043004090","24","9336","10009"
"11/1/2000","00000002","45-49","115","530110","20564100","1","54","75"
"11/2/2000","00000003","","221","130315","0078895770025","1","27","24"
"11/2/2000","00000001","<25","Unknown","110411","0078895770025","1","12","15"
"""
NOVEMBER = 973_036_800  # the first, 2000


@pytest.fixture(autouse=True)
def empty_memory():
    sources._open_source.cache_clear()
    yield
    sources._open_source.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with the rows here, in the layout of the wheels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "keras-peterrec"
    (folder / "ta-feng").mkdir(parents=True)
    with zipfile.ZipFile(folder / "ta-feng" / "ta_feng.csv.zip", "w") as file:
        file.writestr("ta_feng_all_months_merged.csv", "\ufeff" + TA_FENG)
    write_complete_journey(folder / "complete-journey")


def write_complete_journey(folder):
    """A basket of 40 products by household 7, which the file sorts, and one product by 15."""
    folder.mkdir()
    times = [datetime.datetime(2017, 1, 1, 11, 53, 26)] * 40 + [datetime.datetime(2018, 1, 1, 4)]
    transactions = {
        "household_id": [7] * 40 + [15],
        "store_id": [330] * 41,
        "product_id": [*range(100, 140), 100],
        "quantity": [1] * 40 + [0],
        "sales_value": [n / 4 for n in range(41)],
        "retail_disc": [0.1] * 41,
        "transaction_timestamp": pa.array(times, pa.timestamp("ns")),
    }
    products = {
        "product_id": [139, 100, 101],
        "department": ["DELI", "GROCERY", "MISCELLANEOUS"],
        "brand": ["Private", "National", "National"],
        "product_category": ["SALADS", "BAG SNACKS", None],
        "product_type": [None, "POTATO CHIPS", None],
        "package_size": [None, "6.75 OZ", None],
    }
    columns = ("income", "home_ownership", "marital_status", "household_comp", "kids_count")
    households = {"household_id": [7, 15], "age": ["65+", "19-24"], "household_size": ["5+", "1"]}
    households |= {name: pa.array([None, None], pa.string()) for name in columns}
    households["home_ownership"] = [None, "Renter"]
    tables = {"transactions": transactions, "products": products, "demographics": households}
    for name, table in tables.items():
        pa.parquet.write_table(pa.table(table), folder / f"{name}.parquet")


def rows(log):
    """User, item and time of each event, and its fields."""
    ids = log.user_ids[log.users], log.item_ids[log.items], log.timestamps
    fields = (field.texts() for field in log.fields.values())
    return list(zip(*(column.tolist() for column in (*ids, *fields))))


def test_ta_feng_by_domain_and_with_fields(cache):
    assert rows(load_log("ta-feng/source")) == [
        ("00000002", "0078895770025", NOVEMBER),
        ("00000002", "20564100", NOVEMBER),
        ("00000001", "0078895770025", NOVEMBER + DAY),
        ("00000001", "4710043004090", NOVEMBER + 60 * DAY),
        ("00000003", "0078895770025", NOVEMBER + DAY),
    ]
    other = load_log("ta-feng/other", fields="price, amount, subclass")
    assert list(other.fields) == ["price", "amount", "subclass"]
    assert rows(other) == [
        ("00000001", "4710043004090", NOVEMBER + 60 * DAY, "10009", "24", "560402"),
        ("00000002", "20564100", NOVEMBER, "75", "1", "530110"),
    ]
    food = load_log("ta-feng/food", fields=["price"])
    assert sorted(row[3] for row in rows(food)) == ["15", "24", "30"]
    assert food.name == "ta-feng/food" and set(food.item_ids) == {"0078895770025"}
    assert load_titles("ta-feng/food") == {}


def test_ta_fengs_customers(cache):
    ages = load_labels("ta-feng/users", "age")
    assert dict(zip(ages.user_ids, ages.values)) == {"00000002": "45-49", "00000001": "<25"}
    assert ages.order(ages.values) == ["<25", "45-49"]
    areas = load_labels("ta-feng/users", "area")
    assert dict(zip(areas.user_ids, areas.values)) == {"00000002": "115", "00000003": "221"}
    with pytest.raises(InputError, match="`column`.*age, area. Received: .*'gender'"):
        load_labels("ta-feng/users", "gender")


def test_complete_journey_with_fields_of_purchases_and_of_products(cache):
    plain = load_log("complete-journey/source")
    names = ["sales_value", "department", "quantity"]
    log = load_log("complete-journey/source", fields=names)
    assert log.fingerprint() != plain.fingerprint() and rows(plain) == [r[:3] for r in rows(log)]
    found = {(user, int(item)): rest for user, item, *rest in rows(log)}
    assert len(found) == 41 and list(log.fields) == names
    assert found["7", 139] == [1_483_271_606, "9.75", "DELI", "1"]
    assert found["7", 102] == [1_483_271_606, "0.5", None, "1"]
    assert found["15", 100] == [1_514_779_200, "10", "GROCERY", "0"]
    basket = [int(item) for user, item, _ in rows(plain) if user == "7"]
    assert sorted(basket) != basket  # their numbers would be learned


def test_complete_journeys_households_and_titles(cache):
    ages = load_labels("complete-journey/users", "age")
    assert ages.order(ages.values) == ["19-24", "65+"]
    owners = load_labels("complete-journey/users", "home_ownership")
    assert dict(zip(owners.user_ids, owners.values)) == {"15": "Renter"}
    assert load_titles("complete-journey/source") == {
        "100": "POTATO CHIPS, 6.75 OZ",
        "101": "MISCELLANEOUS",
        "139": "SALADS",
    }


def test_tables_of_items(cache):
    found = item_table("ta-feng/items").to_pydict()
    codes = dict(zip(found["item_id"], zip(found["subclass"], found["class"])))
    assert codes == {
        "0078895770025": ("110411", "1104"),  # the first of two
        "20564100": ("530110", "5301"),
        "4710043004090": ("560402", "5604"),
    }
    products = item_table("complete-journey/items").to_pylist()
    wanted = {"item_id": 100, "department": "GROCERY", "product_type": "POTATO CHIPS"}
    assert wanted.items() <= products[1].items() and len(products) == 3
    features = read_items("complete-journey/items")
    assert features.item_ids.tolist() == ["139", "100", "101"] and features.matrix[1].nnz > 2
    with pytest.raises(InputError, match="movielens-100k/items.*Received: `source` = 'tafeng"):
        read_items("tafeng/items")


def test_a_field_that_a_source_does_not_have_is_refused_before_it_is_read():
    message = "`fields`.*among amount, price, subclass for ta-feng/source. Received: .*'cost'"
    for read in (check_log, load_log):
        with pytest.raises(InputError, match=message):
            read("ta-feng/source", fields=["price", "cost"])
        with pytest.raises(InputError, match="`fields`.*simulated/source, which has no"):
            read("simulated/source", fields="price")
        with pytest.raises(InputError, match="`weight_column`.*ta-feng/source"):
            read("ta-feng/source", weight_column="price")
    check_log("ta-feng/source", fields="price")


@pytest.mark.parametrize(
    ("name", "counts", "column", "labels"),
    [
        ("ta-feng", (817_741, 32_266, 23_812), "age", 31_640),
        ("complete-journey", (1_469_307, 2_469, 68_509), "income", 801),
    ],
)
def test_the_real_data(name, counts, column, labels):
    try:
        log = load_log(f"{name}/source")
    except InputError as error:
        pytest.skip(str(error))
    assert (len(log), log.user_count, len(log.item_ids)) == counts
    found = load_labels(f"{name}/users", column)
    assert len(found) == labels and set(found.user_ids) <= set(log.user_ids)
    # Each class is one of those whose order is known.
    assert set(found.values) == set(found.classes)
