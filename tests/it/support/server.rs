//! A web server on a port of its own, for guests to ask. What it was asked is kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A running server. It stops when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: AbortHandle,
}

/// Files by name.
type Stored = BTreeMap<String, Vec<u8>>;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Server {
    /// Serves: `/hello`; `/echo`, the request's body; `/to?URL`, a redirect; `/huge`, bytes without end; `/slow`, one byte
    /// and then nothing; `/table.csv`; `/missing`, 404; `/packed`, gzip; `/junk`, which is not HTTP; `/files/NAME`, what
    /// was sent there before; `/simple/PROJECT/`, a package index of all of those.
    pub async fn start() -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into()).await
    }

    /// The same on another address of this machine.
    pub async fn start_on(ip: IpAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, stored) = (asked.clone(), Arc::<Mutex<Stored>>::default());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, stored) = (kept.clone(), stored.clone());
                tokio::spawn(async move { answer(stream, &kept, &stored).await });
            }
        });
        Self { address, asked, task: task.abort_handle() }
    }

    /// `http://ADDRESS:PORT` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nothing panics with it").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request. A guest that goes away is no error of the server's.
async fn answer(mut stream: TcpStream, kept: &Mutex<Vec<Asked>>, stored: &Mutex<Stored>) -> Option<()> {
    let asked = read(&mut stream).await?;
    let (target, body) = (asked.line.split(' ').nth(1)?.to_owned(), asked.body.clone());
    kept.lock().expect("nothing panics with it").push(asked);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let text = |status: &str, more: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    // `printf x | gzip`.
    let packed = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 0, 0, 131, 22, 220, 140, 1, 0, 0, 0];
    if let Some(name) = path.strip_prefix("/files/").filter(|_| !body.is_empty()) {
        stored.lock().expect("nothing panics with it").insert(name.to_owned(), body.clone());
    }
    let whole = match path {
        _ if path.starts_with("/simple/") => {
            let stored = stored.lock().expect("nothing panics with it");
            let links: String = stored.keys().map(|name| format!("<a href='/files/{name}'>{name}</a>")).collect();
            text("200 OK", "content-type: text/html\r\n", links.as_bytes())
        }
        _ if path.starts_with("/files/") => {
            let stored = stored.lock().expect("nothing panics with it").get(&path[7..]).cloned();
            stored.map_or_else(|| text("404 Not Found", "", b""), |content| text("200 OK", "", &content))
        }
        "/hello" => text("200 OK", "x-served-by: test\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n", b"hello"),
        "/echo" => text("200 OK", "", &body),
        "/to" => text("302 Found", &format!("location: {query}\r\n"), b""),
        "/table.csv" => text("200 OK", "content-type: text/csv\r\n", b"a,b\n1,2\n"),
        "/packed" => text("200 OK", "content-encoding: gzip\r\n", &packed),
        "/junk" => b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        "/huge" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
            let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk).await.ok()?;
            }
        }
        "/slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").await.ok()?;
            tokio::time::sleep(Duration::from_secs(60)).await;
            Vec::new()
        }
        _ => text("404 Not Found", "", b"not here"),
    };
    stream.write_all(&whole).await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        // The beginning of a TLS handshake is no request.
        if stream.read_buf(&mut bytes).await.ok()? == 0 || !bytes[0].is_ascii_alphabetic() {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    while bytes.len() < end + 4 + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { line, headers, body: bytes[end + 4..].to_vec() })
}

/// The address from which this machine speaks to others; None when it has its loopback alone.
pub fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}
