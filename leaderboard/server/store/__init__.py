"""The board's database: tables, migrations, and the writer that makes a step durable."""
