"""The plain way: Flask and SQLAlchemy's ORM, tables of orders, lines and status history, rows changed in place.

It verifies the same tokens and makes the same answers; it keeps no log, no idempotency keys and no proofs.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import jwt
from flask import Flask, Response, abort, jsonify, request
from sqlalchemy import BigInteger, ForeignKey, Index, Integer, create_engine, event, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload, sessionmaker

from ledger.catalogue import Catalogue

_Id = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """An order as it is now."""

    __tablename__ = "orders"
    __table_args__ = (Index("orders_by_user", "user_id", "id"),)
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    date: Mapped[str]
    amount_in_cents: Mapped[int]
    client_secret: Mapped[str]
    status: Mapped[str]
    lines: Mapped[list[Line]] = relationship(order_by="Line.id")
    history: Mapped[list[StatusEntry]] = relationship(order_by="StatusEntry.id")


class Line(Base):
    """A line of an order."""

    __tablename__ = "order_lines"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    product_id: Mapped[int]
    name: Mapped[str]
    quantity: Mapped[int]
    price_in_cents: Mapped[int]


class StatusEntry(Base):
    """A status that an order had, since when and who gave it."""

    __tablename__ = "status_history"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    status: Mapped[str]
    date: Mapped[str]
    user_id: Mapped[int] = mapped_column(BigInteger)


def make_engine(url: str, pool_size: int) -> Engine:
    """An engine with connections for all threads; SQLite as durable as the ledger's."""
    engine = create_engine(url, pool_size=pool_size, max_overflow=0)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _durable(connection: Any, _: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=30000")

    return engine


def create_app(url: str, secret: str, pool_size: int) -> Flask:
    """Three routes: place an order, one order, a user's orders."""
    app = Flask(__name__)
    session_of = sessionmaker(make_engine(url, pool_size), expire_on_commit=False)
    catalogue = Catalogue.load(None)

    def user() -> int:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            return int(jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})["sub"])
        except jwt.PyJWTError:
            abort(401)

    @app.post("/orders/new")
    def create() -> tuple[Response, int]:
        with session_of() as session:
            order = _placed(session, catalogue, user(), request.get_json())
            return jsonify(_document(order)), 201

    @app.get("/orders/<int:order_id>")
    def detail(order_id: int) -> Response:
        caller = user()
        with session_of() as session:
            order = session.get(Order, order_id, options=[selectinload(Order.lines)])
            if order is None or order.user_id != caller:
                abort(404)
            return jsonify(_document(order))

    @app.get("/orders")
    def listing() -> Response:
        query = select(Order).where(Order.user_id == user()).order_by(Order.id.desc()).limit(1000)
        with session_of() as session:
            orders = session.scalars(query.options(selectinload(Order.lines))).all()
            return jsonify([_document(order) for order in orders])

    return app


def _placed(session: Session, catalogue: Catalogue, user_id: int, cart: list[Any]) -> Order:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    lines = []
    for item in cart:
        product = catalogue.find(item if isinstance(item, str) else item["id"])
        if product is None:
            abort(400)
        quantity = 1 if isinstance(item, str) else int(item["quantity"])
        lines.append(
            Line(product_id=product.id, name=product.name, quantity=quantity, price_in_cents=product.price_in_cents)
        )
    order = Order(
        user_id=user_id,
        date=now,
        amount_in_cents=sum(line.quantity * line.price_in_cents for line in lines),
        client_secret=f"pi_{secrets.token_hex(12)}_secret_{secrets.token_hex(12)}",
        status="pending",
        lines=lines,
        history=[StatusEntry(status="pending", date=now, user_id=user_id)],
    )
    session.add(order)
    session.commit()
    return order


def _document(order: Order) -> dict[str, Any]:
    products = [
        {"id": line.product_id, "name": line.name, "quantity": line.quantity, "priceInCents": line.price_in_cents}
        for line in order.lines
    ]
    return {
        "id": order.id,
        "userId": order.user_id,
        "date": order.date,
        "products": products,
        "amountInCents": order.amount_in_cents,
        "clientSecret": order.client_secret,
        "status": order.status,
    }
