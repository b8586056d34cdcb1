"""azure-mgmt-appcontainers, as published: every operation that it has on session pools."""

import os
import unittest
import uuid

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.appcontainers import ContainerAppsAPIClient

GATEWAY = os.environ["SANDPOOL_POOL"].rsplit("/pools/", 1)[0]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GROUP = "my-group"


class StaticToken(SansIOHTTPPolicy):
    """The client's own policy sends tokens over https alone."""

    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer static-token"


def name():
    return "sdk-" + uuid.uuid4().hex[:12]


def pool(**properties):
    scale = {"maxConcurrentSessions": 4, "readySessionInstances": 1}
    own = {"edition": "base", "limits": {"memory_mebibytes": 256}}
    return {
        "location": "local",
        "tags": {"team": "red"},
        "properties": {"containerType": "PythonLTS", "scaleConfiguration": scale, "sandpool": own} | properties,
    }


class Pools(unittest.TestCase):
    def setUp(self):
        client = ContainerAppsAPIClient(
            object(),
            SUBSCRIPTION,
            base_url=GATEWAY,
            authentication_policy=StaticToken(),
            credential_scopes=["any"],
            polling_interval=0,
        )
        self.addCleanup(client.close)
        self.pools = client.container_apps_session_pools

    def create(self, body=None, group=GROUP):
        made = self.pools.begin_create_or_update(group, name(), body or pool()).result()
        self.addCleanup(lambda: self.pools.begin_delete(group, made.name).result())
        return made

    def test_create_fills_in_what_the_caller_left_out(self):
        made = self.create()
        self.assertEqual(made.type, "Microsoft.App/sessionPools")
        self.assertEqual(made.tags, {"team": "red"})
        properties = made.properties
        self.assertEqual(properties.provisioning_state, "Succeeded")
        self.assertEqual(properties.pool_management_type, "Dynamic")
        self.assertEqual(properties.scale_configuration.max_concurrent_sessions, 4)
        lifecycle = properties.dynamic_pool_configuration.lifecycle_configuration
        self.assertEqual((lifecycle.lifecycle_type, lifecycle.cooldown_period_in_seconds), ("Timed", 300))
        self.assertEqual(properties.session_network_configuration.status, "EgressDisabled")
        self.assertTrue(
            properties.pool_management_endpoint.endswith(f"/resourceGroups/{GROUP}/sessionPools/{made.name}")
        )

    def test_get_and_update(self):
        made = self.create()
        self.assertEqual(self.pools.get(GROUP, made.name).properties.scale_configuration.max_concurrent_sessions, 4)
        change = {"tags": {"cost": "7"}, "properties": {"scaleConfiguration": {"maxConcurrentSessions": 6}}}
        changed = self.pools.begin_update(GROUP, made.name, change).result()
        self.assertEqual(changed.properties.scale_configuration.max_concurrent_sessions, 6)
        self.assertEqual(changed.properties.scale_configuration.ready_session_instances, 1)
        self.assertEqual(changed.tags, {"team": "red", "cost": "7"})
        again = self.pools.begin_create_or_update(GROUP, made.name, pool()).result()
        self.assertEqual(again.properties.scale_configuration.max_concurrent_sessions, 4)

    def test_secrets_do_not_come_back(self):
        made = self.create(pool(secrets=[{"name": "password", "value": "s3cret-value"}]))
        self.assertEqual([(secret.name, secret.value) for secret in made.properties.secrets], [("password", None)])
        self.assertNotIn("s3cret-value", str(self.pools.get(GROUP, made.name).as_dict()))

    def test_lists(self):
        here, there = self.create(), self.create(group="another-group")
        in_group = {each.name for each in self.pools.list_by_resource_group(GROUP)}
        self.assertIn(here.name, in_group)
        self.assertNotIn(there.name, in_group)
        everywhere = {each.name for each in self.pools.list_by_subscription()}
        self.assertLessEqual({here.name, there.name, "python"}, everywhere)

    def test_delete(self):
        made = self.pools.begin_create_or_update(GROUP, name(), pool()).result()
        self.pools.begin_delete(GROUP, made.name).result()
        with self.assertRaises(ResourceNotFoundError) as caught:
            self.pools.get(GROUP, made.name)
        self.assertEqual(caught.exception.error.code, "ResourceNotFound")
        self.pools.begin_delete(GROUP, made.name).result()

    def test_what_is_wrong_is_explained(self):
        body = pool(scaleConfiguration={"maxConcurrentSessions": 0}, containerType="CsharpLTS")
        with self.assertRaises(HttpResponseError) as caught:
            self.pools.begin_create_or_update(GROUP, name(), body).result()
        error = caught.exception
        self.assertEqual((error.status_code, error.error.code), (400, "InvalidSessionPoolProperties"))
        self.assertIn("maxConcurrentSessions", error.message)
        self.assertIn("containerType", error.message)

    def test_a_shell_needs_a_gateway_that_runs_containers(self):
        with self.assertRaises(HttpResponseError) as caught:
            self.pools.begin_create_or_update(GROUP, name(), pool(containerType="Shell")).result()
        self.assertIn("runs no containers", caught.exception.message)

    def test_pools_of_the_configuration_file_are_shown_and_not_changed(self):
        shown = self.pools.get("configuration", "python")
        self.assertEqual(shown.properties.container_type, "PythonLTS")
        with self.assertRaises(HttpResponseError) as caught:
            self.pools.begin_delete("configuration", "python").result()
        self.assertEqual(caught.exception.status_code, 409)

    def test_there_is_no_mcp_server(self):
        made = self.create()
        fetch = getattr(self.pools, "fetch_mcp_server_credentials", None)
        if fetch is None:
            self.skipTest("this version of the client has no such operation")
        with self.assertRaises(HttpResponseError) as caught:
            fetch(GROUP, made.name)
        self.assertEqual(caught.exception.error.code, "SessionMCPServerNotEnabled")


if __name__ == "__main__":
    unittest.main()
