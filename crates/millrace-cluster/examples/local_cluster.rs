//! A cluster from the command line: `local_cluster DIR up [free]|status|kill NODE|start NODE|stop NODE|quorum|down|delete`.

use std::path::Path;

use millrace_cluster::{Cluster, ClusterSettings, Ports};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut tell = |step| println!("{step}");
    match words[..] {
        [dir, "up"] => show(&Cluster::up(&ClusterSettings::new(dir), &mut tell)?),
        [dir, "up", "free"] => {
            show(&Cluster::up(&ClusterSettings { ports: Ports::Free, ..ClusterSettings::new(dir) }, &mut tell)?);
        }
        [dir, "status"] => show(&Cluster::open(Path::new(dir))?),
        [dir, "kill", node] => Cluster::open(Path::new(dir))?.kill(node)?,
        [dir, "start", node] => Cluster::open(Path::new(dir))?.start(node, &mut tell)?,
        [dir, "stop", node] => Cluster::open(Path::new(dir))?.stop(node)?,
        [dir, "quorum"] => println!("{:?}", Cluster::open(Path::new(dir))?.quorum()?),
        [dir, "down"] => Cluster::open(Path::new(dir))?.down()?,
        [dir, "delete"] => Cluster::open(Path::new(dir))?.delete()?,
        _ => {
            return Err(
                "use: local_cluster DIR up [free]|status|kill NODE|start NODE|stop NODE|quorum|down|delete".into()
            );
        }
    }
    Ok(())
}

fn show(cluster: &Cluster) {
    let mut whole_kib = 0;
    for node in cluster.status() {
        let state = node.pid.map_or("stopped".to_owned(), |pid| format!("pid {pid}"));
        let urls: Vec<String> = node.urls.values().cloned().collect();
        let open = if node.port_open { "open" } else { "-" };
        println!("{:<18} {state:<12} {:>5} MiB  {open:<5} {}", node.name, node.memory_kib / 1024, urls.join("  "));
        whole_kib += node.memory_kib;
    }
    println!("{:<18} {:<12} {:>5} MiB", "all", "", whole_kib / 1024);
    println!("kafka    {}", cluster.bootstrap_servers());
    println!("spark    {}", cluster.spark_url().unwrap_or_default());
    println!("postgres {}", cluster.postgres_url().unwrap_or_default());
}
