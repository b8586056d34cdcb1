"""semantic-kernel's SessionsPythonTool, as published: every method.

It takes https endpoints only. Where the gateway has TLS (SANDPOOL_CA names the certificate to trust) it is called as it
is; else its own `http_client` argument gets a transport that turns the address into the gateway's, and nothing else of
the requests is touched.
"""

import asyncio
import os
import ssl
import unittest
from urllib.parse import urlsplit

import httpx
from gateway import BRIEF_POOL, POOL, TOKEN, WithFolder, fresh
from semantic_kernel import Kernel
from semantic_kernel.core_plugins.sessions_python_tool.sessions_python_plugin import SessionsPythonTool
from semantic_kernel.core_plugins.sessions_python_tool.sessions_python_settings import SessionsPythonSettings
from semantic_kernel.exceptions.function_exceptions import FunctionExecutionException


class PlainHttp(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        gateway = urlsplit(POOL)
        request.url = request.url.copy_with(scheme="http", host=gateway.hostname, port=gateway.port)
        return await super().handle_async_request(request)


class WithTool(WithFolder, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # unittest turns it on; it prints pages

    def tool(self, session_id=None, pool=POOL, **settings):
        authority = os.environ.get("SANDPOOL_CA")
        if authority:
            endpoint = pool.replace("127.0.0.1", "localhost")
            client = httpx.AsyncClient(verify=ssl.create_default_context(cafile=authority), timeout=230)
        else:
            endpoint = "https://pool.local" + urlsplit(pool).path
            client = httpx.AsyncClient(transport=PlainHttp(), timeout=230)
        self.addAsyncCleanup(client.aclose)
        return SessionsPythonTool(
            auth_callback=lambda: TOKEN,
            pool_management_endpoint=endpoint,
            http_client=client,
            settings=SessionsPythonSettings(identifier=session_id or fresh("kernel"), **settings),
            enable_dangerous_file_uploads=True,
            allowed_upload_directories=[str(self.folder)],
        )


class Executing(WithTool):
    async def test_execute_code_tells_status_result_and_streams(self):
        text = await self.tool().execute_code("import sys; print('out'); print('err', file=sys.stderr)\n6*7")
        self.assertEqual(text, "Status:\nSuccess\nResult:\n42\nStdout:\nout\n\nStderr:\nerr\n")

    async def test_state_is_kept_from_call_to_call(self):
        tool = self.tool()
        await tool.execute_code("x = 'kept'")
        self.assertIn("Result:\n'kept'\n", await tool.execute_code("x"))

    async def test_a_failing_execution_is_an_answer(self):
        text = await self.tool().execute_code("raise ValueError('this way')")
        self.assertTrue(text.startswith("Status:\nFailure\n"), text)
        self.assertIn("ValueError: this way", text)

    async def test_the_timeout_it_asks_for_is_kept(self):
        tool = self.tool(timeoutInSeconds=1)
        await tool.execute_code("x = 1")
        text = await tool.execute_code("while True: pass")
        self.assertTrue(text.startswith("Status:\nFailure\n"), text)
        self.assertIn("Request timed out waiting for code execution to complete", text)
        self.assertIn("Result:\n1\n", await tool.execute_code("x"))

    async def test_it_may_ask_for_more_than_the_default(self):
        text = await self.tool(pool=BRIEF_POOL, timeoutInSeconds=100).execute_code("import time; time.sleep(3); 'done'")
        self.assertIn("Result:\n'done'\n", text)

    async def test_a_timeout_beyond_the_ceiling_is_refused(self):
        with self.assertRaisesRegex(FunctionExecutionException, "status code 400"):
            await self.tool(timeoutInSeconds=100_000).execute_code("1")

    async def test_an_identifier_may_hold_letters_beyond_ascii(self):
        session = fresh("sess é漢")
        await self.tool(session).execute_code("x = 1")
        self.assertIn("Result:\n1\n", await self.tool(session).execute_code("x"))

    async def test_a_kernel_calls_it_as_a_plugin(self):
        kernel = Kernel()
        plugin = kernel.add_plugin(self.tool(), "sessions")
        self.assertEqual(set(plugin.functions), {"execute_code", "list_files", "upload_file"})
        answer = await kernel.invoke(plugin["execute_code"], code="1 + 1")
        self.assertIn("Result:\n2\n", str(answer))


class Files(WithTool):
    async def test_an_upload_is_found_in_the_list_at_once(self):
        tool = self.tool()
        uploaded = await tool.upload_file(local_file_path=self.write("a.txt", b"text"))
        self.assertEqual((uploaded.full_path, uploaded.size_in_bytes), ("/mnt/data/a.txt", 4))
        self.assertIn("Result:\n'text'\n", await tool.execute_code("open('a.txt').read()"))

    async def test_an_upload_after_an_execution_says_it_is_json(self):
        """Its client then sends `Content-Type: application/json` with every multipart body."""
        tool = self.tool()
        await tool.execute_code("1")
        uploaded = await tool.upload_file(local_file_path=self.write("b.txt", b"more"), remote_file_path="renamed b.txt")
        self.assertEqual(uploaded.full_path, "/mnt/data/renamed b.txt")
        self.assertEqual((await tool.download_file(remote_file_name="renamed b.txt")).read(), b"more")

    async def test_an_upload_into_a_folder_arrives_there(self):
        tool = self.tool()
        # Its list names what stands in /mnt/data itself, so that its own search for the upload may end with nothing.
        try:
            await tool.upload_file(local_file_path=self.write("c.txt", b"deep"), remote_file_path="dir/c.txt")
        except (RuntimeError, StopIteration):
            pass
        self.assertEqual((await tool.download_file(remote_file_name="dir/c.txt")).read(), b"deep")

    async def test_the_list_has_what_code_wrote(self):
        tool = self.tool()
        self.assertEqual(await tool.list_files(), [])
        await tool.execute_code("open('made.txt', 'w').write('123')")
        (listed,) = await tool.list_files()
        self.assertEqual((listed.filename, listed.size_in_bytes), ("made.txt", 3))

    async def test_a_download_comes_as_bytes_or_to_the_disk(self):
        tool = self.tool()
        await tool.execute_code("open('a b.bin', 'wb').write(bytes(range(256)))")
        self.assertEqual((await tool.download_file(remote_file_name="a b.bin")).read(), bytes(range(256)))
        local = self.folder / "down.bin"
        self.assertIsNone(await tool.download_file(remote_file_name="a b.bin", local_file_path=str(local)))
        self.assertEqual(local.read_bytes(), bytes(range(256)))

    async def test_what_is_not_there_is_404(self):
        with self.assertRaisesRegex(FunctionExecutionException, "status code 404"):
            await self.tool().download_file(remote_file_name="missing.txt")


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
