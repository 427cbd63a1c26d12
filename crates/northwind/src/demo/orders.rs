//! Four years of orders, more each year, and more towards its end.

use rusqlite::{Transaction, params};

use super::dice::Dice;

/// Never changed, so that the demo stays the same.
const SEED: u64 = 10_248;

const FIRST_ORDER: u32 = 10_248;

/// Orders of each month, from January of [`FIRST_YEAR`].
const ORDERS_PER_MONTH: [[u32; 12]; 4] = [
    [5, 5, 6, 6, 7, 7, 6, 7, 8, 8, 9, 10],
    [7, 7, 8, 8, 9, 9, 8, 9, 10, 11, 12, 13],
    [9, 10, 10, 11, 11, 12, 10, 12, 13, 14, 15, 17],
    [12, 12, 13, 14, 14, 15, 13, 15, 17, 18, 19, 21],
];

const FIRST_YEAR: u32 = 2022;

/// Orders since then are not shipped yet, most of them.
const LAST_WEEKS: &str = "2025-12-18";

/// Discounts in percent; most lines have none.
const DISCOUNTS: [u32; 10] = [0, 0, 0, 0, 0, 0, 5, 10, 15, 20];

/// What orders are made of, as `company.sql` has it.
struct Company {
    /// Identifier, company, city, country.
    customers: Vec<[String; 4]>,
    /// Product and its price in cents.
    prices: Vec<(u32, u32)>,
    employees: u32,
    shippers: u32,
}

pub(super) fn insert(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let company = Company::load(transaction)?;
    let mut dice = Dice::new(SEED);
    let mut order_id = FIRST_ORDER;
    for (year, months) in (FIRST_YEAR..).zip(ORDERS_PER_MONTH) {
        // Prices rose by five percent a year.
        let rise = 100 + 5 * (year - FIRST_YEAR);
        for (month, orders) in (1..=12u32).zip(months) {
            let mut days: Vec<u32> = (0..orders).map(|_| dice.between(1, 28)).collect();
            days.sort_unstable();
            for day in days {
                let date = format!("{year}-{month:02}-{day:02}");
                company.order(transaction, &mut dice, order_id, &date)?;
                company.lines(transaction, &mut dice, order_id, rise)?;
                order_id += 1;
            }
        }
    }
    Ok(())
}

impl Company {
    fn load(transaction: &Transaction<'_>) -> rusqlite::Result<Self> {
        let count = |sql| transaction.query_row(sql, (), |row| row.get(0));
        Ok(Self {
            customers: transaction
                .prepare(
                    "SELECT customer_id, company_name, city, country FROM customers
                     ORDER BY customer_id",
                )?
                .query_map((), |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
                })?
                .collect::<Result<_, _>>()?,
            prices: transaction
                .prepare(
                    "SELECT product_id, CAST(round(unit_price * 100) AS INTEGER) FROM products
                     ORDER BY product_id",
                )?
                .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?,
            employees: count("SELECT count(*) FROM employees")?,
            shippers: count("SELECT count(*) FROM shippers")?,
        })
    }

    fn order(
        &self,
        transaction: &Transaction<'_>,
        dice: &mut Dice,
        order_id: u32,
        date: &str,
    ) -> rusqlite::Result<()> {
        // The smaller of two throws: the first customers buy most.
        let count = u32::try_from(self.customers.len()).unwrap_or_default();
        let customer = dice.below(count).min(dice.below(count)) as usize;
        let Some([customer_id, company, city, country]) = self.customers.get(customer) else {
            return Ok(());
        };
        let employee = dice.between(1, self.employees);
        let shipper = dice.between(1, self.shippers);
        let days_to_ship = dice.between(1, 16);
        let open = date >= LAST_WEEKS && dice.below(5) > 0;
        let days_to_ship = (!open).then_some(days_to_ship);
        let freight = f64::from(dice.between(150, 18_000)) / 100.0;
        transaction.execute(
            "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, date(?4, '+28 days'),
               date(?4, '+' || ?5 || ' days'), ?6, ?7, ?8, ?9, ?10)",
            params![
                order_id,
                customer_id,
                employee,
                date,
                days_to_ship,
                shipper,
                freight,
                company,
                city,
                country
            ],
        )?;
        Ok(())
    }

    /// The lines of one order, at prices raised to so many percent.
    fn lines(
        &self,
        transaction: &Transaction<'_>,
        dice: &mut Dice,
        order_id: u32,
        rise: u32,
    ) -> rusqlite::Result<()> {
        for _ in 0..dice.between(1, 5) {
            let Some((product, cents)) = dice.pick(&self.prices) else {
                continue;
            };
            let price = f64::from(cents * rise / 100) / 100.0;
            let quantity = dice.between(2, 60);
            let percent = dice.pick(&DISCOUNTS).copied().unwrap_or_default();
            // A product is on an order once; a second throw of it is lost.
            transaction.execute(
                "INSERT OR IGNORE INTO order_details VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    order_id,
                    product,
                    price,
                    quantity,
                    f64::from(percent) / 100.0
                ],
            )?;
        }
        Ok(())
    }
}
