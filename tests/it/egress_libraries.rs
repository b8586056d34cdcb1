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

/// A wheel of a module `tiny`, made in the session and put on the server.
const WHEEL: &str = "import io, urllib.request, zipfile\n\
def publish(version, needs=''):\n\
\x20   file, about = io.BytesIO(), f'tiny-{version}.dist-info'\n\
\x20   with zipfile.ZipFile(file, 'w') as wheel:\n\
\x20       wheel.writestr('tiny.py', f'VERSION = {version!r}')\n\
\x20       wheel.writestr(f'{about}/METADATA', f'Metadata-Version: 2.1\\nName: tiny\\nVersion: {version}\\n{needs}')\n\
\x20       wheel.writestr(f'{about}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
\x20       wheel.writestr(f'{about}/RECORD', '')\n\
\x20   urllib.request.urlopen(BASE + f'/files/tiny-{version}-py3-none-any.whl', file.getvalue())\n";

#[tokio::test]
async fn pip_installs_what_is_pure_python() {
    let server = Server::start().await;
    let (port, base) = (server.address.port(), server.url(""));
    let gateway = gateway(&format!(
        "policy = 'allow-list'\nallow_private = ['127.0.0.0/8']\n\
         allow = [{{ scheme = 'http', host = '127.0.0.1', port = {port}, methods = ['GET', 'POST'] }}]"
    ))
    .await;
    let pip = format!("%pip install -i {base}/simple");
    let steps = [
        (
            format!("BASE = '{base}'\n{WHEEL}publish('1.0'); publish('2.0', 'Requires-Dist: setuptools>=1\\n')"),
            true,
            "",
        ),
        // Pinned, then raised; an import that was tried before it was there must not stand in the way.
        ("try: import tiny\nexcept ModuleNotFoundError as e: print(e.name)".into(), true, "tiny\n"),
        (format!("{pip} tiny==1.0\nimport tiny\nprint('version', tiny.VERSION)"), true, "version 1.0\n"),
        (
            format!(
                "%pip install --upgrade -i {base}/simple tiny\nimport importlib, importlib.metadata\n\
                 print('version', importlib.reload(tiny).VERSION, importlib.metadata.version('tiny'))"
            ),
            true,
            "version 2.0 2.0\n",
        ),
        (format!("!pip install -i {base}/simple tiny==3.0"), false, ""),
        ("!pip install -q ipython setuptools".into(), true, "Requirement already satisfied: setuptools"),
        ("%pip install other".into(), false, ""),
        ("%pip uninstall tiny\nimport logging\nprint(logging.getLogger().handlers)".into(), true, "\n[]\n"),
        ("del __import__('sys').modules['tiny']\nimport tiny".into(), false, ""),
    ];
    for (code, succeeds, expected) in steps {
        let answer = gateway.run("pips", &code).await;
        let stdout = answer["result"]["stdout"].as_str().unwrap_or_default();
        assert_eq!(answer["status"] == "Succeeded", succeeds, "{code}: {answer}");
        assert!(stdout.contains(expected), "{code}: {answer}");
        assert!(!answer.to_string().contains("Unsafe"), "{answer}");
    }
    let refused = gateway.run("pips", "%pip install other").await;
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
}
