//! Who trades what with whom: everything but the orders.

use rusqlite::{Transaction, params};

use super::dice::Dice;

/// Any number would do; this one is never changed, so that the demo stays the same.
const SEED: u64 = 10_247;

const CATEGORIES: [(&str, &str); 8] = [
    ("Beverages", "Coffees, teas, juices, beers and ales"),
    ("Condiments", "Sauces, relishes, spreads and seasonings"),
    ("Confections", "Desserts, candies and sweet breads"),
    ("Dairy Products", "Cheeses and butter"),
    ("Grains and Cereals", "Breads, crackers, pasta and cereal"),
    ("Meat and Poultry", "Prepared meats"),
    ("Produce", "Dried fruit and bean curd"),
    ("Seafood", "Seaweed and fish"),
];

/// Company, contact, title, city, country.
type Firm = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const SUPPLIERS: [Firm; 12] = [
    (
        "Thames Leaf & Bean",
        "Harriet Cole",
        "Purchasing Manager",
        "London",
        "UK",
    ),
    (
        "Bayou Spice Works",
        "Delphine Arceneaux",
        "Order Administrator",
        "New Orleans",
        "USA",
    ),
    (
        "Great Lakes Orchards",
        "Regina Holt",
        "Sales Representative",
        "Ann Arbor",
        "USA",
    ),
    (
        "Kanda Foods",
        "Yoshiko Tanabe",
        "Marketing Manager",
        "Tokyo",
        "Japan",
    ),
    (
        "Queserías del Norte",
        "Antonio Saavedra",
        "Export Manager",
        "Oviedo",
        "Spain",
    ),
    (
        "Setouchi Seafood",
        "Mayumi Ota",
        "Marketing Representative",
        "Osaka",
        "Japan",
    ),
    (
        "Yarra Valley Larder",
        "Ian Devlin",
        "Marketing Manager",
        "Melbourne",
        "Australia",
    ),
    (
        "Honeycroft Biscuits",
        "Peter Wilmot",
        "Sales Representative",
        "Manchester",
        "UK",
    ),
    (
        "Göteborgs Knäcke AB",
        "Lars Petersson",
        "Sales Agent",
        "Göteborg",
        "Sweden",
    ),
    (
        "Süßwaren Heidrich GmbH",
        "Petra Winkler",
        "Sales Manager",
        "Berlin",
        "Germany",
    ),
    (
        "Pasta Bellavista",
        "Giovanni Rossetti",
        "Sales Representative",
        "Ravenna",
        "Italy",
    ),
    (
        "Nordfjord Fisk",
        "Beate Vikan",
        "Marketing Manager",
        "Bergen",
        "Norway",
    ),
];

/// Name, supplier, category, unit of sale, price in cents.
const PRODUCTS: [(&str, u32, u32, &str, u32); 44] = [
    ("Highland Breakfast Tea", 1, 1, "10 boxes x 20 bags", 1800),
    ("Borough Market Coffee", 1, 1, "16 - 500 g tins", 4600),
    ("Riverside Pale Ale", 1, 1, "24 - 330 ml bottles", 1400),
    ("Ginger Shandy", 8, 1, "24 - 330 ml bottles", 1250),
    ("Orchard Apple Juice", 3, 1, "12 - 1 l bottles", 1550),
    ("Sencha Superior", 4, 1, "20 - 100 g pouches", 2350),
    ("Barossa Shiraz", 7, 1, "12 - 75 cl bottles", 9800),
    ("Aniseed Cordial", 1, 2, "12 - 550 ml bottles", 1000),
    ("Cajun Seasoning", 2, 2, "48 - 170 g jars", 2200),
    ("Gumbo Base", 2, 2, "36 boxes", 2135),
    ("Red Pepper Relish", 2, 2, "32 - 225 g bottles", 2105),
    ("Boysenberry Preserve", 3, 2, "12 - 225 g jars", 2500),
    ("Cranberry Sauce", 3, 2, "12 - 340 g jars", 4000),
    ("Aged Soy Sauce", 4, 2, "24 - 250 ml bottles", 1550),
    ("Yarra Yeast Spread", 7, 2, "15 - 625 g jars", 4390),
    ("Lemon Myrtle Pavlova", 7, 3, "32 - 500 g boxes", 1745),
    ("Teatime Shortbread", 8, 3, "10 boxes x 12 pieces", 920),
    ("Scone Mix", 8, 3, "24 packs x 4 pieces", 1000),
    ("Orange Marmalade Tin", 8, 3, "30 gift boxes", 8100),
    ("Haselnuss Nougat", 10, 3, "20 - 450 g glasses", 1400),
    ("Gummibärchen", 10, 3, "100 - 250 g bags", 3123),
    ("Dunkle Schokolade", 10, 3, "100 - 100 g bars", 4390),
    ("Queso Cabrales", 5, 4, "1 kg pkg.", 2100),
    ("Queso La Sierra", 5, 4, "10 - 500 g pkgs.", 3800),
    ("Gorgonzola Stagionato", 11, 4, "12 - 100 g pkgs.", 1250),
    ("Mozzarella di Ravenna", 11, 4, "24 - 200 g pkgs.", 3480),
    ("Brunost", 12, 4, "500 g", 250),
    ("Fjordsmør Butter", 12, 4, "10 - 500 g pkgs.", 3600),
    ("Rågbröd Crispbread", 9, 5, "24 - 500 g pkgs.", 2100),
    ("Tunnbröd", 9, 5, "12 - 250 g pkgs.", 900),
    ("Gnocchi della Nonna", 11, 5, "24 - 250 g pkgs.", 3800),
    ("Ravioli Angelini", 11, 5, "24 - 250 g pkgs.", 1950),
    ("Singapore Noodles", 4, 5, "32 - 1 kg pkgs.", 1400),
    ("Outback Bush Loaf", 7, 5, "16 - 2 kg boxes", 700),
    ("Alice Springs Lamb", 7, 6, "20 - 1 kg tins", 3900),
    ("Kobe Beef Cuts", 4, 6, "18 - 500 g pkgs.", 9700),
    (
        "Thüringer Rostbratwurst",
        10,
        6,
        "50 bags x 30 sausages",
        12379,
    ),
    ("Dried Organic Pears", 3, 7, "12 - 450 g pkgs.", 3000),
    ("Tofu", 4, 7, "40 - 100 g pkgs.", 2325),
    ("Manjimup Dried Apples", 7, 7, "50 - 300 g pkgs.", 5300),
    ("Konbu", 6, 8, "2 kg box", 600),
    ("Salmon Roe", 6, 8, "12 - 200 ml jars", 3100),
    ("Gravad Lax", 12, 8, "12 - 500 g pkgs.", 2600),
    ("Louisiana Crab Meat", 2, 8, "24 - 110 g tins", 1840),
];

/// The identifier first, then as [`Firm`].
pub(super) const CUSTOMERS: [(&str, Firm); 36] = [
    (
        "ALPEN",
        (
            "Alpenhof Feinkost",
            "Maria Anders",
            "Sales Representative",
            "Berlin",
            "Germany",
        ),
    ),
    (
        "ANTIG",
        (
            "Antigua Mercado",
            "Ana Trujano",
            "Owner",
            "México D.F.",
            "Mexico",
        ),
    ),
    (
        "ARBOR",
        (
            "Arbor Provisions",
            "Thomas Hardwick",
            "Sales Representative",
            "London",
            "UK",
        ),
    ),
    (
        "BERGL",
        (
            "Berglunds Speceri",
            "Christina Berglund",
            "Order Administrator",
            "Luleå",
            "Sweden",
        ),
    ),
    (
        "BLAUE",
        (
            "Blaue Ente Delikatessen",
            "Hanna Moos",
            "Sales Representative",
            "Mannheim",
            "Germany",
        ),
    ),
    (
        "BONAP",
        (
            "Bon Appétit Phocéen",
            "Laurence Lebrun",
            "Owner",
            "Marseille",
            "France",
        ),
    ),
    (
        "BOTTO",
        (
            "Bottomless Pantry",
            "Elizabeth Lincoln",
            "Accounting Manager",
            "Vancouver",
            "Canada",
        ),
    ),
    (
        "CACTU",
        (
            "Cactus Comidas",
            "Patricio Simón",
            "Sales Agent",
            "Buenos Aires",
            "Argentina",
        ),
    ),
    (
        "CHOPS",
        ("Chop & Suey", "Yang Wei", "Owner", "Bern", "Switzerland"),
    ),
    (
        "COMER",
        (
            "Comércio Paulista",
            "Pedro Afonso",
            "Sales Associate",
            "São Paulo",
            "Brazil",
        ),
    ),
    (
        "DUMON",
        (
            "Du Monde Épicerie",
            "Janine Labrousse",
            "Owner",
            "Nantes",
            "France",
        ),
    ),
    (
        "EASTC",
        (
            "East Quay Trading",
            "Ann Devonshire",
            "Sales Agent",
            "London",
            "UK",
        ),
    ),
    (
        "ERNSA",
        (
            "Ernst Handelshaus",
            "Roland Mendl",
            "Sales Manager",
            "Graz",
            "Austria",
        ),
    ),
    (
        "FOLKO",
        (
            "Folk och Fä",
            "Maria Larsdotter",
            "Owner",
            "Bräcke",
            "Sweden",
        ),
    ),
    (
        "FRANS",
        (
            "Franchi Alimentari",
            "Paolo Accorsi",
            "Sales Representative",
            "Torino",
            "Italy",
        ),
    ),
    (
        "GALER",
        (
            "Galería del Gourmet",
            "Eduardo Saavedra",
            "Marketing Manager",
            "Barcelona",
            "Spain",
        ),
    ),
    (
        "GREAL",
        (
            "Great Divide Foods",
            "Howard Snyder",
            "Marketing Manager",
            "Eugene",
            "USA",
        ),
    ),
    (
        "HANAR",
        (
            "Hanari Importadora",
            "Mario Pontes",
            "Accounting Manager",
            "Rio de Janeiro",
            "Brazil",
        ),
    ),
    (
        "HILAA",
        (
            "Hilarión Abastos",
            "Carlos Hernández",
            "Sales Representative",
            "San Cristóbal",
            "Venezuela",
        ),
    ),
    (
        "HUNGO",
        (
            "Hungry Heron",
            "Patricia McKenna",
            "Sales Associate",
            "Cork",
            "Ireland",
        ),
    ),
    (
        "KOENE",
        (
            "Königlich Essen",
            "Philip Cramer",
            "Sales Associate",
            "Brandenburg",
            "Germany",
        ),
    ),
    (
        "LAZYK",
        (
            "Lazy Kettle Stores",
            "John Steele",
            "Marketing Manager",
            "Walla Walla",
            "USA",
        ),
    ),
    (
        "LEHMA",
        (
            "Lehmann Marktstand",
            "Renate Messner",
            "Sales Representative",
            "Frankfurt",
            "Germany",
        ),
    ),
    (
        "MAGAZ",
        (
            "Magazzini Rovelli",
            "Giovanni Rovelli",
            "Marketing Manager",
            "Bergamo",
            "Italy",
        ),
    ),
    (
        "MAISO",
        (
            "Maison Dewael",
            "Catherine Dewael",
            "Sales Agent",
            "Bruxelles",
            "Belgium",
        ),
    ),
    (
        "OLDWO",
        (
            "Old World Deli",
            "Rene Phillips",
            "Sales Representative",
            "Anchorage",
            "USA",
        ),
    ),
    (
        "PICCO",
        (
            "Piccolo und Sohn",
            "Georg Pipps",
            "Sales Manager",
            "Salzburg",
            "Austria",
        ),
    ),
    (
        "QUICK",
        (
            "Quickstop Märkte",
            "Horst Kloss",
            "Accounting Manager",
            "Cunewalde",
            "Germany",
        ),
    ),
    (
        "RATTL",
        (
            "Rattlesnake Canyon Foods",
            "Paula Wilson",
            "Assistant",
            "Albuquerque",
            "USA",
        ),
    ),
    (
        "REGGI",
        (
            "Reggiani Caseifici",
            "Maurizio Moroni",
            "Sales Associate",
            "Reggio Emilia",
            "Italy",
        ),
    ),
    (
        "SAVEA",
        (
            "Save-More Markets",
            "Jose Pavarino",
            "Sales Representative",
            "Boise",
            "USA",
        ),
    ),
    (
        "SIMOB",
        (
            "Simons Bistro",
            "Jytte Petersen",
            "Owner",
            "København",
            "Denmark",
        ),
    ),
    (
        "TORTU",
        (
            "Tortuga Restaurante",
            "Miguel Ángel Paolino",
            "Owner",
            "México D.F.",
            "Mexico",
        ),
    ),
    (
        "VAFFE",
        (
            "Vaffelhuset",
            "Palle Ibsen",
            "Sales Manager",
            "Århus",
            "Denmark",
        ),
    ),
    (
        "WARTI",
        (
            "Wartiainen Herkku",
            "Pirkko Koskela",
            "Accounting Manager",
            "Oulu",
            "Finland",
        ),
    ),
    (
        "WOLZA",
        (
            "Wolza Delikatesy",
            "Zbyszek Piestrzeniewicz",
            "Owner",
            "Warszawa",
            "Poland",
        ),
    ),
];

/// Last name, first name, title, hired, city, country, the manager's number.
type Employee = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Option<u32>,
);

const EMPLOYEES: [Employee; 9] = [
    (
        "Dahl",
        "Nora",
        "Sales Representative",
        "2019-05-01",
        "Seattle",
        "USA",
        Some(2),
    ),
    (
        "Fullbright",
        "Andrew",
        "Vice President, Sales",
        "2018-08-14",
        "Tacoma",
        "USA",
        None,
    ),
    (
        "Leveson",
        "Janet",
        "Sales Representative",
        "2019-04-01",
        "Kirkland",
        "USA",
        Some(2),
    ),
    (
        "Peake",
        "Margaret",
        "Sales Representative",
        "2020-05-03",
        "Redmond",
        "USA",
        Some(2),
    ),
    (
        "Buckland",
        "Steven",
        "Sales Manager",
        "2020-10-17",
        "London",
        "UK",
        Some(2),
    ),
    (
        "Suzuki",
        "Michiko",
        "Sales Representative",
        "2020-10-17",
        "London",
        "UK",
        Some(5),
    ),
    (
        "Kingsley",
        "Robert",
        "Sales Representative",
        "2021-01-02",
        "London",
        "UK",
        Some(5),
    ),
    (
        "Callahan",
        "Laura",
        "Inside Sales Coordinator",
        "2021-03-05",
        "Seattle",
        "USA",
        Some(2),
    ),
    (
        "Doyle",
        "Anne",
        "Sales Representative",
        "2021-11-15",
        "London",
        "UK",
        Some(5),
    ),
];

const SHIPPERS: [&str; 3] = ["Swift Parcel", "United Freightways", "Federated Shipping"];

/// The price list: product number and price in cents.
pub(super) fn prices() -> Vec<(u32, u32)> {
    (1..)
        .zip(PRODUCTS)
        .map(|(id, (.., cents))| (id, cents))
        .collect()
}

pub(super) fn employees() -> u32 {
    u32::try_from(EMPLOYEES.len()).unwrap_or_default()
}

pub(super) fn shippers() -> u32 {
    u32::try_from(SHIPPERS.len()).unwrap_or_default()
}

pub(super) fn insert(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut dice = Dice::new(SEED);
    for (id, (name, description)) in (1..).zip(CATEGORIES) {
        transaction.execute(
            "INSERT INTO categories VALUES (?1, ?2, ?3)",
            params![id, name, description],
        )?;
    }
    for (id, (company, contact, title, city, country)) in (1..).zip(SUPPLIERS) {
        transaction.execute(
            "INSERT INTO suppliers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, company, contact, title, city, country, phone(&mut dice)],
        )?;
    }
    for (id, (company, contact, title, city, country)) in CUSTOMERS {
        transaction.execute(
            "INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![id, company, contact, title, city, country, phone(&mut dice)],
        )?;
    }
    // Managers have larger numbers than some who report to them.
    transaction.pragma_update(None, "defer_foreign_keys", true)?;
    for (id, (last, first, title, hired, city, country, manager)) in (1..).zip(EMPLOYEES) {
        transaction.execute(
            "INSERT INTO employees VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![id, last, first, title, hired, city, country, manager],
        )?;
    }
    for (id, company) in (1..).zip(SHIPPERS) {
        transaction.execute(
            "INSERT INTO shippers VALUES (?1, ?2, ?3)",
            params![id, company, phone(&mut dice)],
        )?;
    }
    products(transaction, &mut dice)
}

fn products(transaction: &Transaction<'_>, dice: &mut Dice) -> rusqlite::Result<()> {
    for (id, (name, supplier, category, unit, cents)) in (1u32..).zip(PRODUCTS) {
        let reorder = 5 * dice.below(7);
        let stock = dice.below(120);
        let on_order = if stock < reorder {
            10 * dice.between(1, 8)
        } else {
            0
        };
        // One in eleven is no longer sold.
        let discontinued = id % 11 == 0;
        transaction.execute(
            "INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                id,
                name,
                supplier,
                category,
                unit,
                f64::from(cents) / 100.0,
                stock,
                on_order,
                reorder,
                discontinued,
            ],
        )?;
    }
    Ok(())
}

/// A number of the range that is kept free for fiction.
fn phone(dice: &mut Dice) -> String {
    format!("({}) 555-01{:02}", dice.between(201, 989), dice.below(100))
}
