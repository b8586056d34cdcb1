//! Libraries that speak HTTP work in a session unmodified.

use std::path::Path;

use crate::archive::{Body, tar};
use crate::egress::gateway;
use crate::support::python::Python;
use crate::support::server::Server;

/// The Python files below `folder`, as a tar archive.
fn archive(folder: &Path) -> Vec<u8> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(&below).expect("the installation is there") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("below").to_str().expect("UTF-8").to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with(".so") && !name.starts_with("bin/") && !name.starts_with("home/") {
                files.push((name, std::fs::read(&path).expect("it can be read")));
            }
        }
    }
    // The archive's headers have room for no longer names.
    let short = files.iter().filter(|(name, _)| name.len() < 100);
    tar(&short.map(|(name, content)| (name.as_str(), Body::File(content))).collect::<Vec<_>>())
}

const UNPACK: &str = "import sys, tarfile\ntarfile.open('/mnt/data/p.tar').extractall('/tmp/p', filter='data')\n\
                      sys.path.insert(0, '/tmp/p')\nimport requests, httpx, urllib3\n";

#[tokio::test]
async fn requests_urllib3_and_httpx() {
    let packages = tokio::task::spawn_blocking(|| archive(Python::with("in_guest").packages())).await.unwrap();
    let server = Server::start().await;
    let port = server.address.port();
    let gateway = gateway(&format!(
        "policy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, methods = ['GET', 'POST'] }}, \
         {{ host = '127.0.0.1', port = {port} }}]"
    ))
    .await;
    let up =
        gateway.upload("/pools/python/files?identifier=libs&api-version=2025-10-02-preview", "p.tar", &packages).await;
    assert!(up.status < 300, "{}", up.text());
    let base = server.url("");
    let steps = [
        (UNPACK.to_owned(), ""),
        (
            format!(
                "s = requests.Session()\nr = s.get('{base}/hello', params={{'a': 'b c'}})\n\
                 print(r.status_code, r.text, r.headers['X-Served-By'], dict(s.cookies))\n\
                 print(s.post('{base}/echo', json={{'k': 1}}).json(), s.get('{base}/packed').text)\n\
                 print(s.get('{base}/to?/hello').text, s.get('{base}/to?/hello', allow_redirects=False).status_code)\n\
                 print(requests.post('{base}/echo', files={{'f': b'content'}}).status_code)\n\
                 print(sum(len(c) for c in requests.get('{base}/hello', stream=True).iter_content(2)))"
            ),
            "200 hello test {'a': '1', 'b': '2'}\n{'k': 1} x\nhello 302\n200\n5\n",
        ),
        (
            format!(
                "try: requests.get('{base}/slow', timeout=0.3)\nexcept requests.exceptions.ReadTimeout as e: print('slow')\n\
                 try: requests.get('http://elsewhere.example/')\n\
                 except requests.exceptions.ConnectionError as e: print('allow-list' in str(e))\n\
                 try: requests.get('https://127.0.0.1:{port}/')\n\
                 except requests.exceptions.ConnectionError as e: print('no connection' in str(e))"
            ),
            "slow\nTrue\nTrue\n",
        ),
        (
            format!(
                "pool = urllib3.PoolManager()\nprint([pool.request('GET', '{base}/hello').data for _ in range(3)])"
            ),
            "[b'hello', b'hello', b'hello']\n",
        ),
        (
            format!(
                "with httpx.Client() as c:\n    print(c.get('{base}/hello').text, c.post('{base}/echo', content=b'x').text)\n\
                 try: httpx.get('http://elsewhere.example/')\nexcept httpx.ConnectError as e: print('allow-list' in str(e))\n\
                 try: httpx.get('{base}/slow', timeout=0.3)\nexcept httpx.ReadTimeout: print('slow')\n\
                 try: httpx.get('https://127.0.0.1:{port}/')\nexcept httpx.HTTPError as e: print('no connection' in str(e))"
            ),
            "hello x\nTrue\nslow\nTrue\n",
        ),
        (
            format!(
                "import asyncio\nasync with httpx.AsyncClient() as c:\n\
                 \x20   answers = await asyncio.gather(*(c.get('{base}/hello') for _ in range(3)))\n\
                 \x20   print([a.text for a in answers], (await c.post('{base}/echo', content=b'x')).text)\n\
                 \x20   try: await c.get('https://127.0.0.1:{port}/')\n    except httpx.HTTPError as e: print(type(e).__name__)"
            ),
            "['hello', 'hello', 'hello'] x\nReadError\n",
        ),
    ];
    for (code, expected) in steps {
        let answer = gateway.run("libs", &code).await;
        assert_eq!(
            (&answer["status"], answer["result"]["stdout"].as_str()),
            (&"Succeeded".into(), Some(expected)),
            "{answer}"
        );
    }
}
