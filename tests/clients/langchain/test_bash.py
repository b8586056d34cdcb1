"""langchain-azure-dynamic-sessions, as published: every method of its tool for shells."""

import io
import json
import threading
import unittest
import warnings

import requests
from gateway import BRIEF_POOL, POOL, TOKEN, WithFolder, fresh

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the package has a successor
    from langchain_azure_dynamic_sessions import SessionsBashTool, SessionsPythonREPLTool


def bash(session_id=None, pool=POOL, **more):
    return SessionsBashTool(
        pool_management_endpoint=pool,
        access_token_provider=lambda: TOKEN,
        session_id=session_id or fresh("bash"),
        **more,
    )


def wait_for_deletions():
    """The client deletes sessions on threads that it gives nobody."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(30)


class Executing(unittest.TestCase):
    def test_invoke_answers_streams_and_exit_code_as_json(self):
        with bash() as tool:
            answer = json.loads(tool.invoke("echo out; echo err >&2; exit 3"))
            self.assertEqual(answer, {"stdout": "out\n", "stderr": "err\n", "exitCode": 3})
            self.assertEqual(json.loads(tool.invoke("true"))["exitCode"], 0)

    def test_invoke_as_a_tool_call_has_the_whole_answer_as_artifact(self):
        call = {"args": {"bash_command": "echo hi"}, "id": "1", "name": "Bash", "type": "tool_call"}
        with bash() as tool:
            message = tool.invoke(call)
        self.assertEqual(json.loads(message.content)["stdout"], "hi\n")
        self.assertEqual(message.artifact["status"], "0")

    def test_files_and_folder_stay_from_call_to_call(self):
        with bash() as tool:
            tool.execute("mkdir -p project && echo kept > project/file")
            self.assertEqual(tool.execute("pwd; cat project/file")["result"]["stdout"], "/mnt/data\nkept\n")

    def test_two_sessions_share_nothing(self):
        with bash() as one, bash() as other:
            one.execute("echo secret > /tmp/secret")
            self.assertNotEqual(other.execute("cat /tmp/secret")["status"], "0")

    def test_a_timeout_is_an_exit_code_and_the_session_lives_on(self):
        with bash(pool=BRIEF_POOL) as tool:
            tool.execute("echo kept > file")
            answer = json.loads(tool.invoke("sleep 60"))
            self.assertEqual(answer["exitCode"], 124)
            self.assertIn("Request timed out waiting for code execution to complete", answer["stderr"])
            self.assertEqual(tool.execute("cat file")["result"]["stdout"], "kept\n")

    def test_a_session_may_end_with_its_invocation(self):
        with bash(delete_session_after_invocation=True) as tool:
            first = tool.session_id
            tool.invoke("echo x > file")
            self.assertNotEqual(tool.session_id, first)
            wait_for_deletions()
            self.assertNotEqual(bash(first).execute("cat file")["status"], "0")

    def test_code_is_refused_clearly(self):
        tool = SessionsPythonREPLTool(
            pool_management_endpoint=POOL, access_token_provider=lambda: TOKEN, session_id=fresh("bash")
        )
        with self.assertRaises(requests.HTTPError) as refused:
            tool.execute("1 + 1")
        answer = refused.exception.response
        self.assertEqual((answer.status_code, answer.json()["error"]["code"]), (400, "SessionPropertiesMissing"))
        self.assertIn("shellCommand", answer.json()["error"]["message"])


class Files(WithFolder):
    def test_what_is_uploaded_is_there(self):
        with bash() as tool:
            stored = tool.upload_file(data=io.BytesIO(b"deep"), remote_file_path="dir/a b.txt")
            self.assertEqual((stored.filename, stored.size_in_bytes), ("dir/a b.txt", 4))
            tool.upload_file(local_file_path=self.write("local.txt", b"local"))
            self.assertEqual(tool.execute("cat 'dir/a b.txt' local.txt")["result"]["stdout"], "deeplocal")

    def test_what_a_command_made_can_be_had(self):
        content = bytes(range(256)) * 1000
        with bash() as tool:
            tool.upload_file(data=io.BytesIO(content), remote_file_path="in.bin")
            self.assertEqual(tool.execute("cat in.bin in.bin > out.bin")["status"], "0")
            self.assertEqual(tool.download_file(remote_file_path="out.bin").read(), content * 2)
            target = self.folder / "got.bin"
            tool.download_file(remote_file_path="in.bin", local_file_path=str(target))
            self.assertEqual(target.read_bytes(), content)
            listed = {file.filename: file.size_in_bytes for file in tool.list_files()}
            self.assertEqual(listed, {"in.bin": 256_000, "out.bin": 512_000})
            with self.assertRaises(requests.HTTPError):
                tool.download_file(remote_file_path="none")

    def test_a_closed_session_is_gone(self):
        tool = bash()
        tool.upload_file(data=io.BytesIO(b"x"), remote_file_path="x")
        session = tool.session_id
        tool.close()
        wait_for_deletions()
        self.assertEqual(bash(session).list_files(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
