use rusqlite::Connection;

use super::*;

fn one<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path)
        .unwrap()
        .query_row(sql, (), |row| row.get(0))
        .unwrap()
}

#[test]
fn the_demo_is_a_plausible_company() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.db");
    ensure(&path).unwrap();
    assert_eq!(one::<String>(&path, "PRAGMA integrity_check"), "ok");
    assert_eq!(
        one::<i64>(&path, "SELECT count(*) FROM pragma_foreign_key_check"),
        0
    );
    assert_eq!(
        one::<i64>(
            &path,
            "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%'"
        ),
        8
    );
    let orders: i64 = one(&path, "SELECT count(*) FROM orders");
    assert!((300..1000).contains(&orders), "{orders}");
    let years = "SELECT count(DISTINCT strftime('%Y', order_date)) FROM orders";
    assert_eq!(one::<i64>(&path, years), 4);
    let empty =
        "SELECT count(*) FROM orders WHERE order_id NOT IN (SELECT order_id FROM order_details)";
    assert_eq!(one::<i64>(&path, empty), 0);
    assert!(
        one::<i64>(
            &path,
            "SELECT count(*) FROM orders WHERE shipped_date IS NULL"
        ) > 0
    );
    let growing = "WITH sales AS (SELECT CAST(strftime('%Y', order_date) AS INTEGER) AS year,
          sum(unit_price * quantity * (1 - discount)) AS total
        FROM orders JOIN order_details USING (order_id) GROUP BY year)
        SELECT count(*) FROM sales AS a JOIN sales AS b ON b.year = a.year + 1 WHERE b.total > a.total";
    assert_eq!(one::<i64>(&path, growing), 3);
}

#[test]
fn it_is_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let dump = |name: &str| {
        let path = dir.path().join(name);
        ensure(&path).unwrap();
        one::<String>(
            &path,
            "SELECT group_concat(order_id || product_id || unit_price || quantity || discount)
               || (SELECT group_concat(company_name || phone) FROM customers)
               || (SELECT group_concat(customer_id || order_date || freight) FROM orders)
             FROM order_details",
        )
    };
    assert_eq!(dump("a.db"), dump("b.db"));
}

#[test]
fn an_existing_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.db");
    std::fs::write(&path, "mine").unwrap();
    ensure(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn starters_at_once_end_with_one_whole_file_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.db");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                ensure(&path).unwrap();
                assert!(one::<i64>(&path, "SELECT count(*) FROM orders") > 300);
            });
        }
    });
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    assert_eq!(names, ["demo.db"]);
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        ensure(&dir.path().join("no/demo.db")),
        Err(Error::File(_))
    ));
}
