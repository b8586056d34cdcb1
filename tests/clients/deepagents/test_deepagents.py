"""langchain-azure-dynamic-sessions, as published: every method of its backend for deepagents, in pools of shells."""

import unittest
import warnings

from gateway import POOL, TOKEN, fresh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package has a successor, and calls this an experiment
    from langchain_azure_dynamic_sessions.backends import SessionsBashBackend


def backend(session_id=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SessionsBashBackend(POOL, session_id=session_id or fresh("agent"), access_token_provider=lambda: TOKEN)


class Backend(unittest.TestCase):
    def test_commands_answer_both_streams_and_their_exit_code(self):
        answer = backend().execute("echo out; echo err >&2; exit 3")
        self.assertEqual((answer.output, answer.exit_code, answer.truncated), ("out\nerr\n", 3, False))

    def test_a_session_goes_on_under_its_identifier(self):
        one = backend()
        one.execute("echo kept > file")
        self.assertEqual(backend(one.id).execute("cat file").output, "kept\n")
        self.assertNotEqual(backend().execute("cat file").exit_code, 0)

    def test_files_are_written_read_and_edited(self):
        here = backend()
        text = "first 'line'\nsecond $line\nlast \\ line\n"
        self.assertIsNone(here.write("/mnt/data/notes/a.txt", text).error)
        self.assertIn("already exists", here.write("/mnt/data/notes/a.txt", "again").error)
        self.assertEqual(here.read("/mnt/data/notes/a.txt", offset=1, limit=1), "     2\tsecond $line")
        self.assertIn("not found", here.read("/mnt/data/notes/b.txt"))
        self.assertEqual(here.edit("/mnt/data/notes/a.txt", "second", "2nd").occurrences, 1)
        self.assertIn("multiple times", here.edit("/mnt/data/notes/a.txt", "line", "row").error)
        self.assertEqual(here.edit("/mnt/data/notes/a.txt", "line", "row", replace_all=True).occurrences, 3)
        self.assertIn("String not found", here.edit("/mnt/data/notes/a.txt", "line", "row").error)
        self.assertEqual(here.execute("cat notes/a.txt").output, "first 'row'\n2nd $row\nlast \\ row\n")

    def test_folders_are_listed_and_searched(self):
        here = backend()
        here.execute("mkdir -p tree/below && echo needle > tree/below/a.py && echo hay > tree/b.py")
        self.assertEqual(here.ls_info("/mnt/data/tree"), [{"path": "b.py", "is_dir": False}, {"path": "below", "is_dir": True}])
        found = here.grep_raw("needle", "/mnt/data/tree")
        self.assertEqual([(match["path"], match["line"], match["text"]) for match in found],
                         [("/mnt/data/tree/below/a.py", 1, "needle")])

    def test_patterns_find_files(self):
        here = backend()
        here.execute("mkdir tree && touch tree/a.py tree/b.txt")
        self.assertEqual(here.glob_info("tree/*.py", "/mnt/data"), [{"path": "tree/a.py", "is_dir": False}])

    def test_files_go_in_and_out(self):
        here = backend()
        content = bytes(range(256)) * 1000
        (up,) = here.upload_files([("/mnt/data/in.bin", content)])
        self.assertIsNone(up.error)
        self.assertEqual(here.execute("wc -c < in.bin").output.strip(), "256000")
        down, missing = here.download_files(["/mnt/data/in.bin", "/mnt/data/missing"])
        self.assertEqual((down.content, down.error), (content, None))
        self.assertEqual(missing.error, "file_not_found")

    def test_much_output_is_cut_where_the_backend_says(self):
        answer = backend().execute("yes | head -c 300000")
        self.assertTrue(answer.truncated)
        self.assertEqual(len(answer.output), 100_000)


if __name__ == "__main__":
    unittest.main()
