"""llama-index-tools-azure-code-interpreter, as published: every method of its tool."""

import os
import unittest

import requests
from gateway import BRIEF_POOL, POOL, TOKEN, WithFolder, fresh, picture, show
from llama_index.tools.azure_code_interpreter import AzureCodeInterpreterToolSpec


def tool(session_id=None, pool=POOL, **more):
    made = AzureCodeInterpreterToolSpec(
        pool_management_endpoint=pool, session_id=session_id or fresh("llama"), **more
    )
    made.access_token_provider = lambda: TOKEN
    return made


class Executing(WithFolder):
    def test_code_interpreter_answers_the_properties(self):
        answer = tool().code_interpreter("print('hi')\n6*7")["properties"]
        self.assertEqual((answer["status"], answer["stdout"], answer["result"]), ("Success", "hi\n", 42))

    def test_state_is_kept_from_call_to_call(self):
        one = tool()
        one.code_interpreter("x = [1, 2]")
        self.assertEqual(one.code_interpreter("x")["properties"]["result"], "[1, 2]")

    def test_a_failing_execution_is_an_answer(self):
        answer = tool().code_interpreter("{}['k']")["properties"]
        self.assertEqual(answer["status"], "Failure")
        self.assertIn("KeyError: 'k'", answer["stderr"])

    def test_a_timeout_is_an_answer(self):
        answer = tool(pool=BRIEF_POOL).code_interpreter("import time; time.sleep(60)")["properties"]
        self.assertEqual(answer["status"], "Failure")
        self.assertIn("Request timed out waiting for code execution to complete", answer["stderr"])

    def test_an_identifier_may_hold_spaces_and_letters_beyond_ascii(self):
        session = fresh("sess 1 ü漢")
        tool(session).code_interpreter("x = 1")
        self.assertEqual(tool(session).code_interpreter("x")["properties"]["result"], 1)

    def test_the_endpoint_may_come_from_the_environment_and_end_in_a_slash(self):
        os.environ["AZURE_POOL_MANAGEMENT_ENDPOINT"] = POOL + "/"
        self.addCleanup(os.environ.pop, "AZURE_POOL_MANAGEMENT_ENDPOINT")
        self.assertEqual(tool(pool=None).code_interpreter("1")["properties"]["result"], 1)

    def test_a_picture_is_saved_here(self):
        png = picture()
        result = tool(local_save_path=str(self.folder)).code_interpreter(show(png))["properties"]["result"]
        self.assertIs(result["saved_to_local_path"], True)
        (saved,) = self.folder.iterdir()
        self.assertEqual((saved.suffix, saved.read_bytes()), (".png", png))

    def test_a_picture_without_a_place_to_save_is_told_without_its_data(self):
        result = tool().code_interpreter(show(picture()))["properties"]["result"]
        self.assertEqual(result, {"type": "image", "format": "png", "base64_data": ""})

    def test_an_agent_finds_its_functions(self):
        names = {each.metadata.name for each in tool().to_tool_list()}
        self.assertEqual(names, {"code_interpreter", "list_files"})
        by_name = {each.metadata.name: each for each in tool().to_tool_list()}
        answer = by_name["code_interpreter"].call(python_code="2**10").raw_output
        self.assertEqual(answer["properties"]["result"], 1024)


class Files(WithFolder):
    def test_a_local_file_goes_up_and_code_reads_it(self):
        one, local = tool(), self.write("li.py", b"answer = 42")
        (uploaded,) = one.upload_file(local_file_path=local)
        self.assertEqual((uploaded.file_full_path, uploaded.size_in_bytes), ("/mnt/data/li.py", 11))
        self.assertEqual(one.code_interpreter("import li; li.answer")["properties"]["result"], 42)

    def test_the_list_has_the_file_with_its_size(self):
        one = tool()
        self.assertEqual(one.list_files(), [])
        one.upload_file(local_file_path=self.write("a b.txt", b"text"))
        (listed,) = one.list_files()
        self.assertEqual((listed.file_full_path, listed.size_in_bytes), ("/mnt/data/a b.txt", 4))

    def test_a_download_comes_as_bytes_or_to_the_disk(self):
        one = tool()
        one.code_interpreter("open('/mnt/data/made.bin', 'wb').write(bytes(range(256)))")
        self.assertEqual(one.download_file_to_local("made.bin").read(), bytes(range(256)))
        local = self.folder / "made.bin"
        self.assertIsNone(one.download_file_to_local("/mnt/data/made.bin", local_file_path=str(local)))
        self.assertEqual(local.read_bytes(), bytes(range(256)))

    def test_a_download_with_folders_and_spaces(self):
        one = tool()
        one.code_interpreter("import os; os.makedirs('dir'); open('dir/a b.txt', 'w').write('deep')")
        self.assertEqual(one.download_file_to_local("dir/a b.txt").read(), b"deep")

    def test_what_is_not_there_is_404(self):
        with self.assertRaises(requests.HTTPError) as refused:
            tool().download_file_to_local("missing.txt")
        self.assertEqual(refused.exception.response.status_code, 404)


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
