"""langchain-azure-dynamic-sessions, as published: every method of its tools."""

import base64
import io
import json
import threading
import unittest
import warnings

import requests
from gateway import BRIEF_POOL, POOL, TOKEN, WithFolder, fresh, picture, show

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the package has a successor
    from langchain_azure_dynamic_sessions import SessionsBashTool, SessionsPythonREPLTool


def python(session_id=None, pool=POOL, **more):
    return SessionsPythonREPLTool(
        pool_management_endpoint=pool,
        access_token_provider=lambda: TOKEN,
        session_id=session_id or fresh("langchain"),
        **more,
    )


def wait_for_deletions():
    """The client deletes sessions on threads that it gives nobody."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(30)


class Executing(unittest.TestCase):
    def test_invoke_answers_the_three_streams_as_json(self):
        self.assertEqual(json.loads(python().invoke("6*7")), {"result": 42, "stdout": "", "stderr": ""})

    def test_invoke_as_a_tool_call_has_the_whole_answer_as_artifact(self):
        call = {"args": {"python_code": "print('out')\n'res'"}, "id": "1", "name": "Python_REPL", "type": "tool_call"}
        message = python().invoke(call)
        self.assertEqual(json.loads(message.content)["stdout"], "out\n")
        self.assertEqual(message.artifact["status"], "Success")

    def test_execute_answers_every_property(self):
        answer = python().execute("import sys\nprint('a'); print('b', file=sys.stderr)\n[1, 'two']")
        self.assertEqual(
            (answer["status"], answer["stdout"], answer["stderr"], answer["result"]),
            ("Success", "a\n", "b\n", "[1, 'two']"),
        )
        self.assertGreaterEqual(answer["executionTimeInMilliseconds"], 0)

    def test_markdown_fences_of_a_model_are_no_matter(self):
        self.assertEqual(python().execute("```python\n1 + 1\n```")["result"], 2)

    def test_text_beyond_ascii_comes_back_as_it_went(self):
        answer = python().execute("print('héé 漢字 🦀')")
        self.assertEqual(answer["stdout"], "héé 漢字 🦀\n")

    def test_state_is_kept_from_call_to_call(self):
        tool = python()
        tool.execute("x = 41\ndef f(y): return y + 1")
        self.assertEqual(tool.execute("f(x)")["result"], 42)

    def test_two_sessions_share_nothing(self):
        python().execute("secret = 1")
        self.assertIn("NameError", python().execute("secret")["stderr"])

    def test_a_failing_execution_is_an_answer(self):
        tool = python()
        answer = tool.execute("print('before')\n1/0")
        self.assertEqual((answer["status"], answer["stdout"]), ("Failure", "before\n"))
        self.assertIn("ZeroDivisionError: division by zero", answer["stderr"])
        self.assertIn("SyntaxError", tool.execute("def (")["stderr"])
        self.assertIn("ZeroDivisionError", json.loads(tool.invoke("1/0"))["stderr"])
        self.assertEqual(tool.execute("1 + 1")["result"], 2)

    def test_a_timeout_is_an_answer_and_the_session_lives_on(self):
        tool = python(pool=BRIEF_POOL)
        tool.execute("kept = 'kept'")
        answer = tool.execute("while True: pass")
        self.assertEqual(answer["status"], "Failure")
        self.assertIn("Request timed out waiting for code execution to complete", answer["stderr"])
        self.assertEqual(tool.execute("kept")["result"], "'kept'")

    def test_a_picture_is_a_result(self):
        tool, png = python(), picture()
        result = tool.execute(show(png))["result"]
        self.assertEqual((result["type"], result["format"]), ("image", "png"))
        self.assertEqual(base64.b64decode(result["base64_data"]), png)
        self.assertEqual(json.loads(tool.invoke(show(png)))["result"], {"type": "image", "format": "png"})

    def test_an_identifier_may_hold_spaces_slashes_and_letters_beyond_ascii(self):
        session = fresh("user 1/é 漢 +&=%#")
        python(session).execute("x = 'found'")
        self.assertEqual(python(session).execute("x")["result"], "'found'")
        self.assertIn("NameError", python(session.replace("+", " ")).execute("x")["stderr"])

    def test_an_identifier_that_is_too_short_is_refused(self):
        with self.assertRaises(requests.HTTPError) as refused:
            python("abc").execute("1")
        self.assertEqual(refused.exception.response.status_code, 400)
        self.assertEqual(refused.exception.response.headers["x-ms-error-code"], "InvalidLengthOfSessionIdentifier")


class Files(WithFolder):
    def test_bytes_go_up_and_come_back(self):
        tool, data = python(), bytes(range(256)) * 1000
        uploaded = tool.upload_file(data=io.BytesIO(data), remote_file_path="data.bin")
        self.assertEqual((uploaded.filename, uploaded.size_in_bytes), ("data.bin", len(data)))
        self.assertEqual(uploaded.full_path, "/mnt/data/data.bin")
        self.assertEqual(tool.download_file(remote_file_path="data.bin").read(), data)
        self.assertEqual(tool.execute("len(open('/mnt/data/data.bin', 'rb').read())")["result"], len(data))

    def test_a_local_file_goes_up_under_its_own_name_or_another(self):
        tool, local = python(), self.write("a b.txt", b"text")
        self.assertEqual(tool.upload_file(local_file_path=local).filename, "a b.txt")
        self.assertEqual(tool.upload_file(local_file_path=local, remote_file_path="other.txt").filename, "other.txt")
        self.assertEqual(tool.execute("sorted(__import__('os').listdir('.'))")["result"], "['a b.txt', 'other.txt']")

    def test_a_name_may_hold_folders_and_spaces(self):
        tool = python()
        uploaded = tool.upload_file(data=io.BytesIO(b"deep"), remote_file_path="dir one/a b.txt")
        self.assertEqual(uploaded.full_path, "/mnt/data/dir one/a b.txt")
        self.assertEqual(tool.execute("open('dir one/a b.txt').read()")["result"], "'deep'")
        self.assertEqual(tool.download_file(remote_file_path="dir one/a b.txt").read(), b"deep")

    def test_a_name_may_hold_letters_beyond_ascii(self):
        tool = python()
        tool.upload_file(data=io.BytesIO(b"x"), remote_file_path="größe 漢.txt")
        self.assertEqual([file.filename for file in tool.list_files()], ["größe 漢.txt"])
        self.assertEqual(tool.download_file(remote_file_path="größe 漢.txt").read(), b"x")

    def test_a_file_that_code_wrote_is_saved_here(self):
        tool = python()
        tool.execute("open('out.csv', 'w').write('1,2\\n')")
        local = self.folder / "out.csv"
        tool.download_file(remote_file_path="out.csv", local_file_path=str(local))
        self.assertEqual(local.read_bytes(), b"1,2\n")

    def test_the_list_has_uploads_and_what_code_wrote(self):
        tool = python()
        self.assertEqual(tool.list_files(), [])
        tool.upload_file(data=io.BytesIO(b"12345"), remote_file_path="up.txt")
        tool.execute("open('made.txt', 'w').write('123')")
        listed = {file.filename: file.size_in_bytes for file in tool.list_files()}
        self.assertEqual(listed, {"up.txt": 5, "made.txt": 3})

    def test_an_upload_replaces(self):
        tool = python()
        tool.upload_file(data=io.BytesIO(b"a long first version"), remote_file_path="f")
        tool.upload_file(data=io.BytesIO(b"short"), remote_file_path="f")
        self.assertEqual(tool.download_file(remote_file_path="f").read(), b"short")

    def test_what_is_not_there_is_404(self):
        with self.assertRaises(requests.HTTPError) as refused:
            python().download_file(remote_file_path="missing.txt")
        self.assertEqual(refused.exception.response.status_code, 404)
        self.assertIn("missing.txt", refused.exception.response.json()["error"]["message"])

    def test_a_name_that_climbs_out_is_refused(self):
        with self.assertRaises(requests.HTTPError) as refused:
            python().upload_file(data=io.BytesIO(b"x"), remote_file_path="../../etc/passwd")
        self.assertEqual(refused.exception.response.status_code, 400)


class Ending(unittest.TestCase):
    def test_delete_session_ends_it_and_takes_a_new_one(self):
        tool = python()
        session = tool.session_id
        tool.execute("x = 1")
        tool.delete_session()
        self.assertNotEqual(tool.session_id, session)
        wait_for_deletions()
        self.assertIn("NameError", python(session).execute("x")["stderr"])

    def test_close_and_the_with_statement_end_it(self):
        with python() as tool:
            session = tool.session_id
            tool.execute("x = 1")
        wait_for_deletions()
        self.assertIn("NameError", python(session).execute("x")["stderr"])
        tool.close()  # a session that was never used
        wait_for_deletions()

    def test_a_session_for_each_invocation(self):
        tool = python(delete_session_after_invocation=True)
        session = tool.session_id
        tool.invoke("x = 1")
        wait_for_deletions()
        self.assertNotEqual(tool.session_id, session)
        self.assertIn("NameError", json.loads(tool.invoke("x"))["stderr"])
        self.assertIn("NameError", python(session).execute("x")["stderr"])


class Bash(unittest.TestCase):
    """A Python pool runs no shell commands, and says so."""

    def test_a_shell_command_is_refused_clearly(self):
        tool = SessionsBashTool(
            pool_management_endpoint=POOL, access_token_provider=lambda: TOKEN, session_id=fresh("bash")
        )
        with self.assertRaises(requests.HTTPError) as refused:
            tool.execute("echo hi")
        answer = refused.exception.response
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(answer.headers["x-ms-error-code"], answer.json()["error"]["code"])
        self.assertIn("code", answer.json()["error"]["message"])
        with self.assertRaises(requests.HTTPError):
            tool.invoke("echo hi")

    def test_its_file_calls_speak_the_later_generation(self):
        tool = SessionsBashTool(
            pool_management_endpoint=POOL, access_token_provider=lambda: TOKEN, session_id=fresh("bash")
        )
        uploaded = tool.upload_file(data=io.BytesIO(b"deep"), remote_file_path="dir/a b.txt")
        self.assertEqual(uploaded.size_in_bytes, 4)
        self.assertEqual(tool.download_file(remote_file_path="dir/a b.txt").read(), b"deep")
        tool.upload_file(data=io.BytesIO(b"top"), remote_file_path="top.txt")
        self.assertIn("top.txt", [file.filename for file in tool.list_files()])
        session = tool.session_id
        tool.close()
        wait_for_deletions()
        self.assertEqual(python(session).list_files(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
