//! One HTTP request on a connection of its own.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `NAME: VALUE`
    #[arg(long)]
    header: Vec<String>,
    /// A body of JSON, which is posted
    #[arg(long)]
    data: Option<String>,
    /// The status without which this command fails
    #[arg(long)]
    expect: Option<u16>,
    url: Uri,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut request = match &args.data {
        Some(_) => Request::post(args.url).header(CONTENT_TYPE, "application/json"),
        None => Request::get(args.url),
    };
    for header in &args.header {
        let (name, value) = header.split_once(':').context("a header without colon")?;
        request = request.header(name.trim(), value.trim());
    }
    let response = send(request.body(Full::from(args.data.unwrap_or_default()))?).await?;
    let status = response.status().as_u16();
    println!("{status}");
    println!("{}", String::from_utf8_lossy(response.body()));
    match args.expect {
        Some(expected) if expected != status => bail!("status {status} instead of {expected}"),
        _ => Ok(()),
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(mut request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
    let authority = request.uri().authority().context("a URL without host")?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let host = HeaderValue::from_str(authority.as_str())?;
    let stream = TcpStream::connect(address)
        .await
        .context("cannot connect")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = target.parse()?;
    let headers = request.headers_mut();
    headers.entry(HOST).or_insert(host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// A request with the API token of the environment, where there is one.
pub(crate) fn to_sidecar(path: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = Request::get(format!("http://127.0.0.1:3500{path}"));
    let mut request = request.body(Full::default())?;
    if let Ok(token) = std::env::var("DAPR_API_TOKEN") {
        let name = HeaderName::from_static("dapr-api-token");
        request.headers_mut().insert(name, token.parse()?);
    }
    Ok(request)
}
