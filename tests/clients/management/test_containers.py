"""azure-mgmt-appcontainers, as published: pools of containers, made of the client's own models."""

import os
import time
import unittest
import urllib.request
import uuid

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.appcontainers import ContainerAppsAPIClient, models

GATEWAY = os.environ["SANDPOOL_POOL"].rsplit("/pools/", 1)[0]
IMAGE = os.environ["SANDPOOL_IMAGE"]
GROUP = "my-group"


class StaticToken(SansIOHTTPPolicy):
    """The client's own policy sends tokens over https alone."""

    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer static-token"


def pool(image=IMAGE, mode="one", **more):
    container = models.SessionContainer(
        name="main",
        image=image,
        args=["serve"],
        env=[
            models.EnvironmentVar(name="MODE", value=mode),
            models.EnvironmentVar(name="TOKEN", secret_ref="token"),
        ],
        resources=models.SessionContainerResources(cpu=0.5, memory="64Mi"),
        probes=[
            models.SessionProbe(
                type="Startup",
                http_get=models.SessionProbeHttpGet(port=8080, path="/ready", scheme="HTTP"),
                period_seconds=1,
                failure_threshold=10,
            )
        ],
    )
    properties = {
        "container_type": "CustomContainer",
        "pool_management_type": "Dynamic",
        "scale_configuration": models.ScaleConfiguration(max_concurrent_sessions=4, ready_session_instances=1),
        "secrets": [models.SessionPoolSecret(name="token", value="s3cret-value")],
        "dynamic_pool_configuration": models.DynamicPoolConfiguration(
            lifecycle_configuration=models.LifecycleConfiguration(
                lifecycle_type="OnContainerExit", max_alive_period_in_seconds=600
            )
        ),
        "custom_container_template": models.CustomContainerTemplate(
            containers=[container], ingress=models.SessionIngress(target_port=8080)
        ),
        "session_network_configuration": models.SessionNetworkConfiguration(status="EgressDisabled"),
        "managed_identity_settings": [models.ManagedIdentitySetting(identity="system", lifecycle="None")],
    }
    return models.SessionPool(location="local", properties=models.SessionPoolProperties(**(properties | more)))


def ask(made, path):
    with urllib.request.urlopen(f"{made.properties.pool_management_endpoint}{path}") as answer:
        return answer.read().decode()


class ContainerPools(unittest.TestCase):
    def setUp(self):
        client = ContainerAppsAPIClient(
            object(),
            "00000000-0000-0000-0000-000000000000",
            base_url=GATEWAY,
            authentication_policy=StaticToken(),
            credential_scopes=["any"],
            polling_interval=0,
        )
        self.addCleanup(client.close)
        self.pools = client.container_apps_session_pools

    def create(self, body):
        name = "sdk-" + uuid.uuid4().hex[:12]
        made = self.pools.begin_create_or_update(GROUP, name, body).result()
        self.addCleanup(lambda: self.pools.begin_delete(GROUP, name).result())
        return made

    def test_a_pool_is_made_and_serves(self):
        made = self.create(pool())
        properties = made.properties
        self.assertEqual((properties.container_type, properties.provisioning_state), ("CustomContainer", "Succeeded"))
        lifecycle = properties.dynamic_pool_configuration.lifecycle_configuration
        self.assertEqual((lifecycle.lifecycle_type, lifecycle.max_alive_period_in_seconds), ("OnContainerExit", 600))
        container = properties.custom_container_template.containers[0]
        self.assertEqual((container.image, container.probes[0].http_get.path), (IMAGE, "/ready"))
        self.assertEqual(properties.managed_identity_settings[0].identity, "system")
        self.assertEqual([(secret.name, secret.value) for secret in properties.secrets], [("token", None)])
        self.assertEqual(ask(made, "/env?TOKEN&identifier=session-1"), "s3cret-value")

    def test_a_pool_is_changed(self):
        made = self.create(pool())
        self.assertEqual(ask(made, "/env?MODE&identifier=session-1"), "one")
        template = pool(mode="two").properties.custom_container_template
        change = models.SessionPoolUpdatableProperties(
            properties=models.SessionPoolUpdatablePropertiesProperties(custom_container_template=template)
        )
        changed = self.pools.begin_update(GROUP, made.name, change).result()
        self.assertEqual(changed.properties.custom_container_template.containers[0].env[0].value, "two")
        self.assertEqual(changed.properties.scale_configuration.max_concurrent_sessions, 4)
        for number in range(100):
            mode = ask(made, f"/env?MODE&identifier=later-{number % 2}")
            if mode == "two":
                break
            urllib.request.urlopen(
                f"{made.properties.pool_management_endpoint}/.management/stopSession?identifier=later-{number % 2}",
                data=b"",
            ).close()
            time.sleep(0.1)
        self.assertEqual(mode, "two")
        self.assertEqual(ask(made, "/env?MODE&identifier=session-1"), "one")

    def test_a_pool_is_listed_and_deleted(self):
        made = self.create(pool())
        self.assertIn(made.name, [each.name for each in self.pools.list_by_resource_group(GROUP)])
        self.pools.begin_delete(GROUP, made.name).result()
        with self.assertRaises(ResourceNotFoundError):
            self.pools.get(GROUP, made.name)

    def test_what_cannot_be_had_is_explained(self):
        template = pool().properties.custom_container_template
        template.containers.append(models.SessionContainer(name="No Name", image=IMAGE))
        for body, words in [
            (pool(custom_container_template=template), "No Name"),
            (pool(image="oci:/etc"), "allowed_images"),
        ]:
            with self.assertRaises(HttpResponseError) as caught:
                self.create(body)
            self.assertEqual(caught.exception.error.code, "InvalidSessionPoolProperties")
            self.assertIn(words, caught.exception.message)


if __name__ == "__main__":
    unittest.main()
