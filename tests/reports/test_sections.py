"""The CSV files of a sweep: columns by name, whatever each value's own file has."""

from qnn_jax.reports.report import Report, Section, write


def test_columns_of_a_sweep_s_csv_are_put_by_name(tmp_path):
  texts = ("step,loss\n0,1.5\n", "seed,step,loss\n0,0,2.5\n1,0,3.5\n")
  sections = [
    Section({"seeds": n}, f"seeds = {n}", Report({"a.csv": text}))
    for n, text in enumerate(texts, 1)
  ]
  assert write(tmp_path, "a", sections) == ["a.csv"]
  assert (tmp_path / "a.csv").read_text() == (
    "seeds,step,loss,seed\n1,0,1.5,\n2,0,2.5,0\n2,0,3.5,1\n"
  )
