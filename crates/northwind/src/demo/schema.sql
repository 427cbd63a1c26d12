CREATE TABLE categories (
  category_id   INTEGER PRIMARY KEY,
  category_name TEXT NOT NULL UNIQUE,
  description   TEXT NOT NULL
);

CREATE TABLE suppliers (
  supplier_id   INTEGER PRIMARY KEY,
  company_name  TEXT NOT NULL,
  contact_name  TEXT NOT NULL,
  contact_title TEXT NOT NULL,
  city          TEXT NOT NULL,
  country       TEXT NOT NULL,
  phone         TEXT NOT NULL
);

CREATE TABLE products (
  product_id        INTEGER PRIMARY KEY,
  product_name      TEXT NOT NULL,
  supplier_id       INTEGER NOT NULL REFERENCES suppliers(supplier_id),
  category_id       INTEGER NOT NULL REFERENCES categories(category_id),
  quantity_per_unit TEXT NOT NULL,
  unit_price        REAL NOT NULL CHECK (unit_price >= 0),
  units_in_stock    INTEGER NOT NULL DEFAULT 0,
  units_on_order    INTEGER NOT NULL DEFAULT 0,
  reorder_level     INTEGER NOT NULL DEFAULT 0,
  discontinued      INTEGER NOT NULL DEFAULT 0 CHECK (discontinued IN (0, 1))
);

CREATE TABLE customers (
  customer_id   TEXT PRIMARY KEY NOT NULL,
  company_name  TEXT NOT NULL,
  contact_name  TEXT NOT NULL,
  contact_title TEXT NOT NULL,
  city          TEXT NOT NULL,
  country       TEXT NOT NULL,
  phone         TEXT NOT NULL
);

CREATE TABLE employees (
  employee_id INTEGER PRIMARY KEY,
  last_name   TEXT NOT NULL,
  first_name  TEXT NOT NULL,
  title       TEXT NOT NULL,
  hire_date   TEXT NOT NULL,
  city        TEXT NOT NULL,
  country     TEXT NOT NULL,
  reports_to  INTEGER REFERENCES employees(employee_id)
);

CREATE TABLE shippers (
  shipper_id   INTEGER PRIMARY KEY,
  company_name TEXT NOT NULL,
  phone        TEXT NOT NULL
);

CREATE TABLE orders (
  order_id      INTEGER PRIMARY KEY,
  customer_id   TEXT NOT NULL REFERENCES customers(customer_id),
  employee_id   INTEGER NOT NULL REFERENCES employees(employee_id),
  order_date    TEXT NOT NULL,
  required_date TEXT NOT NULL,
  shipped_date  TEXT,
  ship_via      INTEGER NOT NULL REFERENCES shippers(shipper_id),
  freight       REAL NOT NULL,
  ship_name     TEXT NOT NULL,
  ship_city     TEXT NOT NULL,
  ship_country  TEXT NOT NULL
);

CREATE TABLE order_details (
  order_id   INTEGER NOT NULL REFERENCES orders(order_id),
  product_id INTEGER NOT NULL REFERENCES products(product_id),
  unit_price REAL NOT NULL,
  quantity   INTEGER NOT NULL CHECK (quantity > 0),
  discount   REAL NOT NULL DEFAULT 0 CHECK (discount BETWEEN 0 AND 1),
  PRIMARY KEY (order_id, product_id)
);

CREATE INDEX orders_by_customer ON orders(customer_id);
CREATE INDEX orders_by_date ON orders(order_date);
CREATE INDEX order_details_by_product ON order_details(product_id);
CREATE INDEX products_by_category ON products(category_id);
