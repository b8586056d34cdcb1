"""pandas in the image: imported, and its usual paths run once."""

import io

import numpy
import pandas
import pandas.io.formats.html
import pandas.io.formats.style
import pandas.io.json
import pandas.plotting
import pandas.testing

CELLS = [
    "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 3], 'b': [1.5, None, 2.5], 'c': ['x', 'y', 'x']})\ndf",
    "print(df)\ndf.describe()",
    "df.groupby('c')['a'].mean()",
    "df.info()\ndf.dtypes",
    "df['d'] = df['a'] * 2\ndf[df['a'] > 1].sort_values('a', ascending=False).head()",
    "pd.DataFrame({'g': [i % 10 for i in range(1000)], 'v': range(1000)}).groupby('g').mean()",
]

CSV = "date,name,value,count\n2024-01-01,a,1.5,3\n2024-01-02,b,2.5,4\n2024-02-03,a,,5\n"


def warm_up():
    frame = pandas.read_csv(io.StringIO(CSV), parse_dates=["date"])
    frame.to_csv(io.StringIO()), frame.to_json(), frame.to_dict("records"), frame.to_html(), frame.to_string()
    pandas.read_json(io.StringIO(frame.to_json()))
    other = pandas.DataFrame({"name": ["a", "b"], "weight": [1, 2]})
    frame.merge(other, on="name"), frame.merge(other, on="name", how="left"), pandas.concat([frame, frame])
    groups = frame.groupby("name")
    groups["value"].agg(["mean", "sum", "count", "min", "max", "std"]), groups.size(), groups.agg({"value": "sum", "count": "max"})
    groups["value"].transform("mean"), groups.apply(len, include_groups=False)
    frame.pivot_table(index="name", values="value", aggfunc="sum"), frame.set_index("date").resample("ME").sum(numeric_only=True)
    frame["date"].dt.year, frame["name"].str.upper(), frame["name"].value_counts(), frame["value"].fillna(0), frame.dropna()
    frame.isna().sum(), frame.describe(include="all"), frame.corr(numeric_only=True), frame.sort_values(["name", "value"])
    frame.drop_duplicates(), frame.rename(columns={"value": "v"}), frame["value"].rolling(2).mean(), frame["count"].astype(float)
    frame.loc[frame["count"] > 3, "value"], frame.iloc[0], frame.apply(lambda row: row["count"], axis=1), frame.T, frame.melt("name", value_name="cell")
    pandas.to_datetime(["2024-01-01", "2024-03-04"]), pandas.date_range("2024-01-01", periods=3), pandas.cut([1, 2, 3], 2)
    pandas.Series(numpy.arange(3.0)).map(str), pandas.get_dummies(frame["name"]), pandas.crosstab(frame["name"], frame["count"])
    frame._repr_html_()
