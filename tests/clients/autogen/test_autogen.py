"""autogen-ext's ACADynamicSessionsCodeExecutor, as published: every method."""

import asyncio
import time
import unittest

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, with_requirements
from autogen_ext.code_executors.azure import ACADynamicSessionsCodeExecutor
from azure.core.credentials import AccessToken
from gateway import BRIEF_POOL, POOL, TOKEN, WithFolder, fresh


class Credential:
    def get_token(self, *scopes, **more):
        return AccessToken(TOKEN, int(time.time()) + 3600)


def blocks(*code, language="python"):
    return [CodeBlock(code=each, language=language) for each in code]


@with_requirements(python_packages=["ipython"], global_imports=["math"])
def area(radius: float) -> float:
    """The area of a circle."""
    return math.pi * radius**2  # noqa: F821


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@with_requirements(python_packages=["no-such-package"])
def impossible() -> None:
    """Needs what no session has."""


class WithExecutor(WithFolder, unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # unittest turns it on; it prints pages

    def executor(self, session_id=None, pool=POOL, **more):
        return ACADynamicSessionsCodeExecutor(
            pool_management_endpoint=pool,
            credential=Credential(),
            work_dir=self.folder,
            session_id=session_id or fresh("autogen"),
            **more,
        )

    async def run_blocks(self, executor, *code):
        return await executor.execute_code_blocks(blocks(*code), CancellationToken())


class Executing(WithExecutor):
    async def test_a_block_answers_its_streams_and_its_result(self):
        answer = await self.run_blocks(self.executor(), "print('out')\n6*7")
        self.assertEqual((answer.exit_code, answer.output), (0, "out\n42"))

    async def test_several_blocks_run_in_order_in_one_session(self):
        answer = await self.run_blocks(self.executor(), "x = 1", "x += 1", "print(x)")
        self.assertEqual(answer.exit_code, 0)
        self.assertIn("2\n", answer.output)

    async def test_a_failing_block_gives_exit_code_one_and_the_traceback(self):
        answer = await self.run_blocks(self.executor(), "def f():\n    raise ValueError('this way')\nf()")
        self.assertEqual(answer.exit_code, 1)
        self.assertIn("ValueError: this way", answer.output)

    async def test_a_long_list_is_broken_into_lines_as_ipython_does(self):
        answer = await self.run_blocks(self.executor(), "[f'package-number-{n}' for n in range(9)]")
        lines = ",\n".join(f" 'package-number-{n}'" for n in range(9))
        self.assertEqual(answer.output, f"[{lines[1:]}]")

    async def test_the_result_can_be_left_out(self):
        answer = await self.run_blocks(self.executor(suppress_result_output=True), "print('out')\n6*7")
        self.assertEqual(answer.output, "out\n")

    async def test_another_language_is_refused_by_the_client(self):
        answer = await self.executor().execute_code_blocks(blocks("echo", language="bash"), CancellationToken())
        self.assertEqual(answer.exit_code, 1)

    async def test_the_packages_are_a_clean_list_of_names(self):
        executor = self.executor()
        await self.run_blocks(executor, "1")
        packages = await executor.get_available_packages(CancellationToken())
        self.assertIn("ipython", packages)
        for name in packages:
            self.assertRegex(name, r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

    async def test_a_package_that_is_missing_is_told_before_the_code_runs(self):
        answer = await self.run_blocks(self.executor(), "! pip install no-such-package\nprint('ran')")
        self.assertEqual(answer.exit_code, 1)
        self.assertIn("no-such-package", answer.output)
        self.assertNotIn("ran", answer.output)

    async def test_functions_are_there_in_the_session(self):
        executor = self.executor(functions=[area, double])
        self.assertIn("def area", executor.format_functions_for_prompt())
        answer = await self.run_blocks(executor, "print(round(area(1), 2), double(21))")
        self.assertEqual((answer.exit_code, answer.output), (0, "3.14 42\n"))

    async def test_a_function_whose_package_is_missing_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "no-such-package"):
            await self.run_blocks(self.executor(functions=[impossible]), "1")

    async def test_an_identifier_may_hold_letters_beyond_ascii(self):
        session = fresh("sess é漢")
        await self.run_blocks(self.executor(session), "x = 'kept'")
        self.assertEqual((await self.run_blocks(self.executor(session), "x")).output, "'kept'")


class Stopping(WithExecutor):
    async def test_a_timeout_of_the_pool_is_an_answer(self):
        executor = self.executor(pool=BRIEF_POOL)
        answer = await self.run_blocks(executor, "while True: pass")
        self.assertEqual(answer.exit_code, 1)
        self.assertIn("Request timed out waiting for code execution to complete", answer.output)

    async def test_when_the_client_gives_up_the_session_lives_on(self):
        session = fresh("autogen")
        await self.run_blocks(self.executor(session), "x = 'kept'")
        with self.assertRaises(asyncio.TimeoutError):
            await self.run_blocks(self.executor(session, timeout=3), "while True: pass")
        # Not after the 60 seconds that the loop might have run: the broken connection interrupted it.
        began = time.monotonic()
        self.assertEqual((await self.run_blocks(self.executor(session), "x")).output, "'kept'")
        self.assertLess(time.monotonic() - began, 20)

    async def test_a_cancelled_execution_is_interrupted_and_the_session_lives_on(self):
        executor, token = self.executor(), CancellationToken()
        await self.run_blocks(executor, "x = 'kept'")
        running = asyncio.create_task(executor.execute_code_blocks(blocks("while True: pass"), token))
        await asyncio.sleep(1)
        token.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await running
        began = time.monotonic()
        self.assertEqual((await self.run_blocks(executor, "x")).output, "'kept'")
        self.assertLess(time.monotonic() - began, 20)

    async def test_restart_takes_a_new_session(self):
        executor = self.executor()
        await self.run_blocks(executor, "x = 1")
        await executor.restart()
        answer = await self.run_blocks(executor, "x")
        self.assertEqual(answer.exit_code, 1)
        self.assertIn("NameError", answer.output)

    async def test_start_and_stop(self):
        executor = self.executor()
        await executor.start()
        self.assertEqual((await self.run_blocks(executor, "1")).output, "1")
        await executor.stop()


class Files(WithExecutor):
    async def test_files_go_up_and_code_reads_them(self):
        executor = self.executor()
        self.write("one.txt", b"1")
        self.write("two words.txt", b"2" * 300_000)
        await self.run_blocks(executor, "pass")  # the client has no token before its first execution
        await executor.upload_files(["one.txt", self.folder / "two words.txt"], CancellationToken())
        answer = await self.run_blocks(executor, "print(open('one.txt').read(), len(open('two words.txt').read()))")
        self.assertEqual(answer.output, "1 300000\n")

    async def test_the_list_and_the_downloads(self):
        executor = self.executor()
        self.assertEqual(await executor.get_file_list(CancellationToken()), [])
        await self.run_blocks(executor, "open('a.bin', 'wb').write(bytes(range(256))); open('b c.txt', 'w').write('x')")
        self.assertEqual(sorted(await executor.get_file_list(CancellationToken())), ["a.bin", "b c.txt"])
        paths = await executor.download_files(["a.bin", "b c.txt"], CancellationToken())
        self.assertEqual(paths, [str(self.folder / "a.bin"), str(self.folder / "b c.txt")])
        self.assertEqual((self.folder / "a.bin").read_bytes(), bytes(range(256)))

    async def test_a_download_that_is_not_there_is_an_error(self):
        with self.assertRaises(FileNotFoundError):
            await self.executor().download_files(["missing.txt"], CancellationToken())


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
