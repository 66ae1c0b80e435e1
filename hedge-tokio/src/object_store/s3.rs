use hedge_tokio::object_store::HedgedStore;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt, Result, RetryConfig};

/// Returns a client that shares no connections with others and leaves retries to hedge.
fn client() -> Result<AmazonS3> {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    AmazonS3Builder::from_env().with_bucket_name("measurements").with_retry(retry).build()
}

async fn read() -> Result<(), Box<dyn std::error::Error>> {
    let store = HedgedStore::builder(client()?).hedges_through(client()?).build()?;
    let bytes = store.get_range(&"2026/november.parquet".into(), 0..65_536).await?;
    println!("{} bytes\n{}", bytes.len(), store.stats());
    Ok(())
}
