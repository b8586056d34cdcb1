"""The tool with no token of its own: `azure-identity` gets one from the gateway, told where by two variables."""

import os
import unittest

import requests
from gateway import POOL, fresh
from langchain_azure_dynamic_sessions import SessionsPythonREPLTool


class Identity(unittest.TestCase):
    def test_the_default_credential_gets_in(self):
        tool = SessionsPythonREPLTool(pool_management_endpoint=POOL, session_id=fresh("identity"))
        self.assertEqual(tool.execute("6*7")["result"], 42)

    def test_and_nobody_without(self):
        self.assertEqual(requests.get(f"{POOL}/listSessions", timeout=30).status_code, 401)
        wrong = requests.get(os.environ["IDENTITY_ENDPOINT"], headers={"X-IDENTITY-HEADER": "x"}, timeout=30)
        self.assertEqual(wrong.status_code, 401)


if __name__ == "__main__":
    unittest.main()
